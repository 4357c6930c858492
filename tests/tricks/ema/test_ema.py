"""The average of the weights: its memory, the edit, and a training that carries it."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from tricks_plugin.tricks.ema.trick import Ema

import tricks_plugin
from tricks_plugin.functional import ema_momentum
from tricks_plugin.mm.config_edit import plain
from tricks_plugin.plan.errors import TrickError
from tricks_plugin.tricks.ema.evidence import AverageEvidence
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


class Line(BaseModel):
    """One weight, drawn towards 3; and one that stays."""

    def __init__(self):
        super().__init__()
        self.a = torch.nn.Parameter(torch.tensor([1.0]))
        self.norm = torch.nn.BatchNorm1d(1, affine=False)

    def forward(self, x, mode='loss'):
        self.norm(x)
        return dict(loss=((self.a - 3) ** 2).sum())


def trained(tmp_path, hook, epochs=2, **kwargs):
    tmp_path.mkdir(exist_ok=True)
    data = [dict(x=torch.tensor([float(i)])) for i in range(10)]
    runner = Runner(
        Line(), str(tmp_path), train_dataloader=dict(
            dataset=data, batch_size=2, collate_fn=dict(type='default_collate'),
            sampler=dict(type='DefaultSampler', shuffle=False)),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)), custom_hooks=[hook],
        train_cfg=dict(by_epoch=True, max_epochs=epochs), log_level='WARNING',
        experiment_name=f'ema{len(list(tmp_path.iterdir()))}', **kwargs)
    seen = AverageEvidence()
    states = []

    class Watch(tricks_plugin.TrickEvidenceHook):
        def __init__(self):
            pass

        def before_train(self, runner):
            seen.start(runner)

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            seen.after_iter(runner, batch_idx, data_batch)
            states.append(float(runner.model.a))

        before_train_iter = after_train_epoch = after_train = lambda self, *args, **kwargs: None

    runner.register_hook(Watch(), priority='LOWEST')
    runner.train()
    return runner, seen, states


def test_a_training_carries_the_average_of_its_weights(tmp_path):
    """Ten iterations; a quarter of them is 2.5, the momentum 0.4. a moves 0.2 (3 - a) a step."""
    hook = RunLengthEMAHook(horizon=0.25, update_buffers=True)
    runner, evidence, states = trained(tmp_path, hook)
    assert states[:3] == pytest.approx([1.4, 1.72, 1.976])
    average = states[0]
    for value in states[1:]:
        average = 0.6 * average + 0.4 * value
    assert float(hook.ema_model.module.a) == pytest.approx(average, rel=1e-5)
    finding = evidence.finding(runner)
    assert finding.live and finding.values['updates'] == 10
    assert finding.values['momentum'] == pytest.approx(0.4)
    saved = torch.load(tmp_path / 'epoch_2.pth', weights_only=False)
    assert float(saved['state_dict']['a']) == pytest.approx(average, rel=1e-5)
    assert float(saved['ema_state_dict']['module.a']) == pytest.approx(states[-1], rel=1e-5)


def test_resumed_it_goes_on_where_it_was(tmp_path):
    whole = RunLengthEMAHook(horizon=0.25)
    trained(tmp_path / 'whole', whole)
    first = trained(tmp_path / 'cut', RunLengthEMAHook(horizon=0.25))[0]
    assert first.epoch == 2
    again = RunLengthEMAHook(horizon=0.25)
    runner, evidence, _ = trained(tmp_path / 'cut', again, resume=True,
                                  load_from=str(tmp_path / 'cut/epoch_1.pth'))
    assert float(again.ema_model.module.a) == pytest.approx(float(whole.ema_model.module.a))
    assert evidence.finding(runner).live


def test_an_average_that_stands_still_is_reported(tmp_path):
    class Asleep(RunLengthEMAHook):
        def after_train_iter(self, *args, **kwargs):
            pass

    runner, evidence, _ = trained(tmp_path, Asleep())
    finding = evidence.finding(runner)
    assert finding.live is False and finding.measured.startswith('0 updates in 10 iterations')


def test_no_hook_at_all_is_reported(tmp_path):
    runner, evidence, _ = trained(tmp_path, dict(type='EmptyCacheHook'))
    assert not any(isinstance(hook, EMAHook) for hook in runner.hooks)
    assert evidence.finding(runner).live is False
