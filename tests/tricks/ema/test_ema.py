"""The average of the weights: its memory, the edit, and a training that carries it."""

from __future__ import annotations

import itertools
import json

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook, Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner

import tricks_plugin
from tricks_plugin.functional import ema_momentum
from tricks_plugin.mm.config_edit import plain
from tricks_plugin.plan.errors import TrickError
from tricks_plugin.tricks.ema import Ema
from tricks_plugin.tricks.ema.hook import RunLengthEMAHook


def test_the_memory_is_a_share_of_the_run():
    assert ema_momentum(90000, 0.02) == pytest.approx(1 / 1800)
    assert ema_momentum(520, 0.05) == pytest.approx(1 / 26)
    assert ema_momentum(10, 0.02) == 0.5  # never no average at all


@pytest.mark.parametrize(('iterations', 'horizon', 'words'), [
    (0, 0.1, 'iterations must be >= 1, got 0'), (9, 1.0, r'horizon must be in \(0, 1\), got 1.0')])
def test_bad_lengths_are_refused(iterations, horizon, words):
    with pytest.raises(ValueError, match=words):
        ema_momentum(iterations, horizon)


def planned(cfg, **params):
    verdict = Ema.from_dict(params).apply(cfg)
    if verdict.status == 'applied':
        assert Ema.from_dict(params).apply(cfg).status == 'present'
    return verdict


def test_a_plain_config_gets_the_hook_beside_its_own(zoo):
    cfg = plain(Config.fromfile(zoo / 'yolo/yolov3_d53_8xb8-ms-416-273e_coco.py'))
    before = list(cfg.get('custom_hooks') or [])
    verdict = planned(cfg, horizon=0.03)
    assert cfg['custom_hooks'] == [*before, dict(
        type='tricks_plugin.RunLengthEMAHook', update_buffers=True, horizon=0.03)]
    assert verdict.reason.startswith('memory 0.03 of the run')


def test_yolox_has_one_already_and_a_teacher_counts_as_one(zoo):
    cfg = plain(Config.fromfile(zoo / 'yolox/yolox_s_8xb8-300e_coco.py'))
    assert planned(cfg).reason == 'custom_hooks[2] is EMAHook'
    soft = zoo / 'soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py'
    assert planned(plain(Config.fromfile(soft))).status == 'not_applicable'


def test_a_given_momentum_replaces_the_horizon():
    cfg = dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
               train_cfg=dict(by_epoch=True, max_epochs=3))
    assert planned(cfg, momentum=0.004).reason.startswith('memory 1 / 0.004 = 250 iterations')
    assert cfg['custom_hooks'][0]['momentum'] == 0.004 and 'horizon' not in cfg['custom_hooks'][0]
    with pytest.raises(TrickError, match='momentum must be < 1, got 1.5'):
        Ema.from_dict({'momentum': 1.5})


@pytest.mark.parametrize(('iterations', 'warns'), [(30, True), (300, False)])
def test_a_momentum_whose_memory_is_longer_than_the_run_is_said_to_be_useless(iterations, warns):
    cfg = dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
               train_cfg=dict(by_epoch=False, max_iters=iterations))
    reason = planned(cfg, momentum=0.004).reason
    assert (f'more than the {iterations} of the run, so that the average stays near the first '
            'weights' in reason) is warns


def test_hooks_that_are_switched_off_do_not_count():
    cfg = dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
               default_hooks=dict(ema=None), custom_hooks=None,
               train_cfg=dict(by_epoch=True, max_epochs=3))
    assert planned(cfg).status == 'applied'
    cfg['default_hooks']['ema'] = dict(type='EMAHook')
    cfg['custom_hooks'] = []
    verdict = planned(cfg)
    assert (verdict.status, verdict.promise) == ('present', {})
    assert verdict.reason == 'default_hooks.ema is EMAHook'


def test_a_hook_that_cannot_be_looked_into_is_not_doubled():
    cfg = dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
               custom_hooks=[dict(type='my_project.SlowEmaHook')],
               train_cfg=dict(by_epoch=True, max_epochs=3))
    assert planned(cfg).reason == (
        'custom_hooks[0] is SlowEmaHook, which may average the weights already (SlowEmaHook is '
        'not registered or importable here, and was not looked into)')
    cfg['custom_hooks'] = [dict(type='EmaciatedHook')]
    assert planned(cfg).status == 'applied'


RUNS = itertools.count()


class Line(BaseModel):
    """One weight, drawn towards 3; and three smaller ones that stay."""

    def __init__(self):
        super().__init__()
        self.a = torch.nn.Parameter(torch.tensor([1.0]))
        self.unused = torch.nn.Parameter(torch.tensor(2.0))
        self.slow = torch.nn.Parameter(torch.tensor(0.0))
        self.norm = torch.nn.BatchNorm1d(1, affine=False)

    def forward(self, x, mode='loss'):
        self.norm(x)
        return dict(loss=((self.a - 3) ** 2).sum() + self.slow)


class Weights(Hook):
    """Remembers ``a`` after every iteration."""

    def __init__(self):
        self.seen = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen.append(float(runner.model.a.detach()))


def trained(tmp_path, hook, epochs=2, model=None, wrapper=(), **kwargs):
    """Ten samples in batches of 2, so five iterations an epoch; the last row of the evidence."""
    tmp_path.mkdir(exist_ok=True)
    data = [dict(x=torch.tensor([float(i)])) for i in range(10)]
    weights = Weights()
    runner = Runner(
        model or Line(), str(tmp_path), train_dataloader=dict(
            dataset=data, batch_size=2, collate_fn=dict(type='default_collate'),
            sampler=dict(type='DefaultSampler', shuffle=False)),
        optim_wrapper=dict(dict(optimizer=dict(type='SGD', lr=0.1), paramwise_cfg=dict(
            custom_keys=dict(slow=dict(lr_mult=0.0)))), **dict(wrapper)),
        custom_hooks=[hook, weights, tricks_plugin.TrickEvidenceHook(
            [dict(name='ema', promise={})])],
        train_cfg=dict(by_epoch=True, max_epochs=epochs), log_level='WARNING',
        experiment_name=f'ema{next(RUNS)}', **kwargs)
    runner.train()
    row, = json.loads((tmp_path / 'tricks_evidence.json').read_text())['tricks']
    return row, weights.seen


def test_a_training_carries_the_average_of_its_weights(tmp_path):
    """Ten iterations; a quarter of them is 2.5, the momentum 0.4. a moves 0.2 (3 - a) a step."""
    hook = RunLengthEMAHook(horizon=0.25, update_buffers=True)
    row, states = trained(tmp_path, hook)
    assert states[:3] == pytest.approx([1.4, 1.72, 1.976])
    average = states[0]
    for value in states[1:]:
        average = 0.6 * average + 0.4 * value
    assert float(hook.ema_model.module.a) == pytest.approx(average, rel=1e-5)
    assert row['live'] is True
    values = row['values']
    assert (values['updates'], values['watched'][0]) == (10, 'a')
    assert not {'unused', 'slow'} & set(values['watched'])
    assert values['share'] == pytest.approx(0.4) and values['deviation'] < 1e-6
    saved = torch.load(tmp_path / 'epoch_2.pth', weights_only=False)
    assert float(saved['state_dict']['a']) == pytest.approx(average, rel=1e-5)
    assert float(saved['ema_state_dict']['module.a']) == pytest.approx(states[-1], rel=1e-5)


def test_a_ramp_is_the_mean_of_all_weights_until_the_memory_is_reached(tmp_path):
    cfg = dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
               train_cfg=dict(by_epoch=True, max_epochs=3))
    verdict = planned(cfg, ramp=True, horizon=0.4)
    assert verdict.reason.startswith('memory 0.4 of the run, before that the mean of all weights')
    settings = dict(cfg['custom_hooks'][0])
    assert settings.pop('type') == 'tricks_plugin.RunLengthEMAHook'
    hook = RunLengthEMAHook(**settings)
    row, states = trained(tmp_path, hook)
    # ten iterations, a memory of 4: the mean of the first four, then a quarter of each new one
    average = sum(states[:4]) / 4
    for value in states[4:]:
        average += 0.25 * (value - average)
    assert float(hook.ema_model.module.a) == pytest.approx(average, rel=1e-5)
    assert row['live'] is True and row['values']['share'] == pytest.approx(0.25)


def test_resumed_it_goes_on_where_it_was(tmp_path):
    whole = RunLengthEMAHook(horizon=0.25)
    trained(tmp_path / 'whole', whole, epochs=4)
    trained(tmp_path / 'cut', RunLengthEMAHook(horizon=0.5), epochs=2)
    again = RunLengthEMAHook(horizon=0.25)
    row, _ = trained(tmp_path / 'cut', again, epochs=4, resume=True,
                     load_from=str(tmp_path / 'cut/epoch_2.pth'))
    assert float(again.ema_model.module.a) == pytest.approx(float(whole.ema_model.module.a))
    assert row['live'] is True and row['values']['updates'] == 10


@pytest.mark.parametrize('settings', [
    dict(ema_type='StochasticWeightAverage'), dict(momentum=0.01), dict(momentum=0.3, interval=3),
    dict(ema_type='MomentumAnnealingEMA', gamma=10), dict(momentum=0.2, begin_iter=4),
    dict(momentum=0.2, begin_epoch=2), dict(momentum=0.2, update_buffers=True),
])
def test_all_of_mmengines_averages_follow_their_formula(tmp_path, settings):
    row, _ = trained(tmp_path, EMAHook(**settings), epochs=4)
    assert row['live'] is True, row['measured']
    assert row['values']['deviation'] < 1e-6


def test_mmdets_average_does_too(tmp_path):
    pytest.importorskip('mmdet.models.layers.ema')
    row, _ = trained(tmp_path, EMAHook(ema_type='mmdet.ExpMomentumEMA', momentum=0.002, gamma=7))
    assert row['live'] is True and row['values']['deviation'] < 1e-6


def test_under_accumulation_it_waits_for_the_first_update(tmp_path):
    hook = RunLengthEMAHook(horizon=0.25)
    row, _ = trained(tmp_path, hook, epochs=1, wrapper=dict(accumulative_counts=5))
    assert row['live'] is not False
    row, _ = trained(tmp_path / 'long', RunLengthEMAHook(horizon=0.25), epochs=4,
                     wrapper=dict(accumulative_counts=5))
    assert row['live'] is True


class Stopping(RunLengthEMAHook):
    """Follows the weights for some iterations and never again."""

    def __init__(self, stop, **kwargs):
        super().__init__(**kwargs)
        self.stop = stop

    def after_train_iter(self, runner, *args, **kwargs):
        if runner.iter < self.stop:
            super().after_train_iter(runner, *args, **kwargs)


@pytest.mark.parametrize('stop', [0, 1, 2, 7])
def test_an_average_that_stops_is_reported(tmp_path, stop):
    row, _ = trained(tmp_path, Stopping(stop, horizon=0.25))
    assert row['live'] is False


class OnlyBuffers(RunLengthEMAHook):
    """Averages buffers alone."""

    def after_train_iter(self, runner, *args, **kwargs):
        own = dict(self.ema_model.module.named_parameters())
        before = {name: value.detach().clone() for name, value in own.items()}
        super().after_train_iter(runner, *args, **kwargs)
        with torch.no_grad():
            for name, value in own.items():
                value.copy_(before[name])


@pytest.mark.parametrize(('hook', 'live'), [(RunLengthEMAHook, True), (OnlyBuffers, False)])
def test_a_warm_up_from_zero_at_whose_first_update_only_buffers_move(tmp_path, hook, live):
    row, _ = trained(tmp_path, hook(horizon=0.25, update_buffers=True), param_scheduler=[dict(
        type='tricks_plugin.WarmupCosineLR', by_epoch=False, warmup_iters=3)])
    assert row['live'] is live, row['measured']
    assert 'a' in row['values']['watched']


class Copying(RunLengthEMAHook):
    """Puts the weights in the place of their average."""

    def after_train_iter(self, runner, *args, **kwargs):
        super().after_train_iter(runner, *args, **kwargs)
        self.ema_model.module.load_state_dict(runner.model.state_dict())


def test_an_average_that_is_the_weights_is_reported(tmp_path):
    assert trained(tmp_path, Copying(horizon=0.25))[0]['live'] is False


def test_a_memory_beyond_the_run_is_said_to_be_useless(tmp_path):
    row, _ = trained(tmp_path, EMAHook(momentum=0.0002))
    assert row['live'] is True
    # 0.9998 ** 9 = 0.998201
    assert row['measured'].endswith(
        'memory of 5000 updates in a run of 10, too long to be of use: at the end 99.8 % of it '
        'would be the first weights')


def test_no_hook_at_all_is_reported(tmp_path):
    row, _ = trained(tmp_path, dict(type='EmptyCacheHook'))
    assert row['live'] is False and row['measured'] == 'the trainer keeps no average'
