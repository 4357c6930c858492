"""What the played schedulers give is what a real training of mmengine's has at each iteration."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner

from tricks_plugin.common.rates import EpochLength
from tricks_plugin.mm.scheduled import needs_epoch_length, scheduled_rates

SCHEDULES = {
    'steps': [dict(type='LinearLR', start_factor=0.2, by_epoch=False, begin=0, end=6),
              dict(type='StepLR', by_epoch=True, step_size=1, gamma=0.5)],
    'converted': [dict(type='LinearLR', start_factor=0.01, convert_to_iter_based=True, end=1),
                  dict(type='CosineAnnealingLR', begin=1, T_max=2, eta_min=0.001,
                       convert_to_iter_based=True)],
    'momentum': [dict(type='CosineAnnealingLR', T_max=3, by_epoch=True),
                 dict(type='LinearMomentum', start_factor=0.5, by_epoch=False, end=7)],
    'plugin': [dict(type='tricks_plugin.WarmupCosineLR', convert_to_iter_based=True,
                    warmup_epochs=1)],
    'poly': [dict(type='PolyLR', power=0.9, eta_min=0.01, by_epoch=False, begin=2, end=11)],
}


class Toy(BaseModel):
    def __init__(self):
        super().__init__()
        self.body, self.head = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)

    def forward(self, inputs, mode='loss'):
        return {'loss': self.head(self.body(torch.stack(inputs))).sum()}


class Notes(Hook):
    def __init__(self):
        self.seen = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        groups = runner.optim_wrapper.param_groups
        self.seen.append((sorted({group['lr'] for group in groups}), groups[0]['momentum']))


def settings(schedule, **more):
    return dict(
        default_scope='mmengine', param_scheduler=schedule,
        train_cfg=dict(by_epoch=True, max_epochs=3),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.8)), **more)


@pytest.mark.parametrize('name', SCHEDULES)
def test_a_real_training_has_the_same_rates(name, tmp_path):
    cfg = settings(SCHEDULES[name])
    cfg['optim_wrapper']['paramwise_cfg'] = dict(custom_keys=dict(body=dict(lr_mult=0.1)))
    notes = Notes()
    data = dict(dataset=[{'inputs': torch.ones(1)}] * 10, batch_size=2, num_workers=0,
                sampler=dict(type='DefaultSampler', shuffle=False))
    runner = Runner(model=Toy(), work_dir=str(tmp_path), train_dataloader=data,
                    custom_hooks=[notes], default_hooks=dict(logger=None, checkpoint=None),
                    experiment_name=f'rates-{name}', log_level='ERROR', **cfg)
    runner.train()
    one, = scheduled_rates(Config(cfg), name, EpochLength(5, 'given'))
    assert one.groups == ('', 'paramwise_cfg.custom_keys.body')
    assert len(notes.seen) == one.steps == 15
    for step, (lrs, momentum) in enumerate(notes.seen):
        assert sorted(set(one.lr[step].tolist())) == pytest.approx(lrs, rel=1e-9, abs=1e-15), step
        assert one.momentum[step] == pytest.approx(momentum), step


def test_iterations_need_no_epochs():
    cfg = Config(settings([dict(type='StepLR', by_epoch=False, step_size=4, gamma=0.1)]))
    assert needs_epoch_length(cfg)
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=9)
    assert not needs_epoch_length(cfg)
    one, = scheduled_rates(cfg, 'x', None)
    assert one.lr[:, 0].tolist() == pytest.approx([0.1] * 4 + [0.01] * 4 + [0.001])
    assert one.epoch is None and one.warmup_end is None and one.joints == [4, 8]


def test_each_of_several_optimizers_has_its_own_curve():
    cfg = Config(settings({'gen': [dict(type='StepLR', step_size=1, gamma=0.5)], 'dis': []}))
    cfg.optim_wrapper = dict(
        constructor='Mine', gen=dict(optimizer=dict(type='Adam', lr=0.1, betas=(0.7, 0.9))),
        dis=dict(optimizer=dict(type='SGD', lr=0.4)))
    gen, dis = scheduled_rates(cfg, 'gan', EpochLength(2, 'given'))
    assert (gen.label, dis.label) == ('gan, gen', 'gan, dis')
    assert gen.lr[:, 0].tolist() == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.025, 0.025])
    assert dis.lr[:, 0].tolist() == [0.4] * 6
    assert gen.constant_momentum == 0.7 and dis.constant_momentum == 0.0


def test_what_the_curve_does_not_know_is_said():
    cfg = Config(settings([dict(type='StepLR', step_size=1)], auto_scale_lr=dict(
        enable=True, base_batch_size=8), train_dataloader=dict(batch_size=2)))
    one, = scheduled_rates(cfg, 'x', EpochLength(2, 'given'))
    assert one.lr[0, 0] == pytest.approx(0.025)  # 2 images of 8
    assert one.notes == ("auto_scale_lr multiplies the optimizer's LR by 0.25",)
    cfg.default_hooks = dict(param_scheduler=None)
    one, = scheduled_rates(cfg, 'x', EpochLength(2, 'given'))
    assert one.lr[:, 0].tolist() == [one.lr[0, 0]] * 6 and 'the LR stays' in one.notes[0]
    cfg.default_hooks = dict()
    cfg.optim_wrapper.optimizer = dict(type='NeedsAModel', lr=0.3)
    one, = scheduled_rates(cfg, 'x', EpochLength(2, 'given'))
    assert one.lr[0, 0] == pytest.approx(0.075)
    assert 'NeedsAModel cannot be built without the model: its LR is drawn' in one.notes
    cfg.param_scheduler = [dict(type='ReduceOnPlateauLR', monitor='loss')]
    one, = scheduled_rates(cfg, 'x', EpochLength(2, 'given'))
    assert any(note.startswith('ReduceOnPlateau follows a metric') for note in one.notes)
