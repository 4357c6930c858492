"""Real runs of mmengine, with the evidence hook's measurement driven as in a training."""

from __future__ import annotations

import contextlib
import itertools
import math

import pytest
import torch

pytest.importorskip('mmengine')
from mmengine.config import Config  # noqa: E402
from mmengine.hooks import Hook  # noqa: E402
from mmengine.model import BaseModel  # noqa: E402
from mmengine.optim import OptimWrapper, OptimWrapperDict  # noqa: E402
from mmengine.runner import Runner  # noqa: E402

from tricks_plugin.mm.training import RunnerTraining  # noqa: E402
from tricks_plugin.tricks.cosine_warmup.evidence import CosineEvidence  # noqa: E402
from tricks_plugin.tricks.cosine_warmup.scheduler import WarmupCosineLR  # noqa: E402

RUNS = itertools.count()


class Tiny(BaseModel):
    """Two linear layers; with several optimizers each steps its own layer."""

    def __init__(self):
        super().__init__()
        self.a = torch.nn.Linear(2, 1)
        self.b = torch.nn.Linear(2, 1)

    def forward(self, inputs, mode='tensor'):
        inputs = torch.stack(list(inputs))
        return {'loss': (self.a(inputs) + self.b(inputs)).square().mean()}

    def train_step(self, data, optim_wrapper):
        if not isinstance(optim_wrapper, OptimWrapperDict):
            return super().train_step(data, optim_wrapper)
        for wrapper in optim_wrapper.values():
            wrapper.update_params(self(data['inputs'])['loss'])
        return {'loss': torch.zeros(())}


class Recorder(Hook):
    """Keeps the LRs before every iteration, and feeds the measurement."""

    priority = 'LOWEST'

    def __init__(self, evidence=None, meddle=None):
        self.rows, self.switches = {}, []
        self.evidence, self.meddle = evidence, meddle

    def before_train(self, runner):
        if self.evidence:
            self.training = RunnerTraining(runner)
            self.training.watch()
            self.evidence.start(self.training)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if self.meddle:
            self.meddle(runner)
        self.rows[runner.iter] = runner.optim_wrapper.get_lr()
        if self.evidence:
            self.training.begin(data_batch)
            self.evidence.before_iteration(self.training)
            if self.evidence.switched(self.training):
                self.switches.append(runner.iter)

    def finding(self):
        return self.evidence.finding(self.training)


def dataset():
    return [{'inputs': torch.tensor([float(i), 1.0])} for i in range(10)]


def run(tmp_path, name, scheduler, train_cfg, recorder, optim=None, stop=None, **runner_args):
    """Trains for real: batches of 2 from 10 samples make 5 iterations an epoch."""
    if stop is not None:
        recorder = StopAfter(stop, recorder)
    runner = Runner(
        model=Tiny(), cfg=Config({'param_scheduler': scheduler}), work_dir=str(tmp_path / name),
        train_cfg=train_cfg,
        train_dataloader={'dataset': dataset(), 'batch_size': 2, 'num_workers': 0,
                          'sampler': {'type': 'DefaultSampler' if train_cfg['by_epoch']
                                      else 'InfiniteSampler', 'shuffle': False}},
        optim_wrapper=optim or {'optimizer': {'type': 'SGD', 'lr': 0.01},
                                'paramwise_cfg': {'custom_keys': {'b.': {'lr_mult': 3}}}},
        param_scheduler=scheduler, custom_hooks=[recorder], default_scope='mmengine',
        default_hooks={'checkpoint': {'type': 'CheckpointHook', 'interval': 1,
                                      'by_epoch': train_cfg['by_epoch']}},
        log_level='ERROR', experiment_name=f'{tmp_path.name}_{next(RUNS)}', **runner_args)
    with contextlib.suppress(Interrupted):
        runner.train()
    return runner


class Interrupted(Exception):
    pass


class StopAfter(Recorder):
    """Kills the run before an iteration."""

    def __init__(self, stop, inner):
        super().__init__(inner.evidence)
        self.stop, self.rows = stop, inner.rows

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.stop:
            raise Interrupted
        super().before_train_iter(runner, batch_idx, data_batch)


def curve(step, base, warmup, total, eta_min=0.0):
    """The same curve from its complex exponential, for comparison."""
    if step < warmup:
        return base * step / warmup
    turn = complex(math.e) ** (1j * math.pi * (step - warmup) / (total - warmup))
    return eta_min + (base - eta_min) * (turn.real + 1) / 2


EPOCHS = {'type': 'tricks_plugin.WarmupCosineLR', 'convert_to_iter_based': True,
          'warmup_epochs': 1.4, 'eta_min': 1e-4}
ITERS = {'type': EPOCHS['type'], 'by_epoch': False, 'warmup_iters': 7, 'eta_min': 1e-4}


@pytest.mark.parametrize(('scheduler', 'train_cfg'), [
    (EPOCHS, {'by_epoch': True, 'max_epochs': 4}),
    (ITERS, {'by_epoch': False, 'max_iters': 20}),
    ({**EPOCHS, 'total_iters': 20}, {'by_epoch': False, 'max_iters': 20}),
])
def test_a_real_run_follows_the_curve_at_every_iteration(tmp_path, scheduler, train_cfg):
    recorder = Recorder(CosineEvidence())
    run(tmp_path, 'run', dict(scheduler), train_cfg, recorder)
    assert len(recorder.rows) == 20
    for step, row in recorder.rows.items():
        small, large = curve(step, 0.01, 7, 20, 1e-4), curve(step, 0.03, 7, 20, 1e-4)
        assert row['lr'] == pytest.approx([small] * 2 + [large] * 2, rel=1e-9, abs=1e-12), step
    finding = recorder.finding()
    assert finding.live is True
    assert finding.values['lr_first'] == 0.0
    assert (finding.values['lr_warmup_end'], finding.values['warmup_end_at']) == (0.03, 7)
    assert finding.values['max_relative_deviation'] < 1e-9
    assert finding.planned == ('from 0 to the base LR in 7 iterations, then cosine to 0.0001 at '
                               'iteration 20')
    assert recorder.switches == [7]


@pytest.mark.parametrize(('train_cfg', 'scheduler', 'stop', 'resume_at'), [
    ({'by_epoch': True, 'max_epochs': 4}, EPOCHS, 8, 5),
    ({'by_epoch': True, 'max_epochs': 4}, EPOCHS, 17, 15),
    ({'by_epoch': False, 'max_iters': 20}, ITERS, 3, 3),
    ({'by_epoch': False, 'max_iters': 20}, ITERS, 13, 13),
])
def test_a_resumed_run_has_the_same_lr_at_every_later_iteration(
        tmp_path, train_cfg, scheduler, stop, resume_at):
    whole, cut = Recorder(), Recorder()
    run(tmp_path, 'whole', dict(scheduler), train_cfg, whole)
    run(tmp_path, 'cut', dict(scheduler), train_cfg, cut, stop=stop)
    resumed = Recorder(CosineEvidence())
    run(tmp_path, 'cut', dict(scheduler), train_cfg, resumed, resume=True)
    assert sorted(resumed.rows) == list(range(resume_at, 20))
    assert resumed.rows == {step: whole.rows[step] for step in resumed.rows}
    assert resumed.finding().live is True


def test_a_schedule_changed_between_two_runs_takes_effect_from_the_first_iteration(tmp_path):
    train_cfg = {'by_epoch': False, 'max_iters': 20}
    run(tmp_path, 'cut', dict(ITERS), train_cfg, Recorder(), stop=6)
    recorder = Recorder(CosineEvidence())
    run(tmp_path, 'cut', {**ITERS, 'warmup_iters': 12, 'eta_min': 0.0},
        {'by_epoch': False, 'max_iters': 30}, recorder, resume=True)
    assert recorder.rows[6]['lr'] == pytest.approx([0.005, 0.005, 0.015, 0.015])
    assert recorder.rows[21]['lr'][0] == pytest.approx(0.005)
    assert recorder.finding().live is True


def test_two_optimizers_follow_the_curve_at_their_own_rates(tmp_path):
    def optimizers():
        model = Tiny()
        return OptimWrapperDict(
            a=OptimWrapper(torch.optim.SGD(model.a.parameters(), lr=0.02)),
            b=OptimWrapper(torch.optim.Adam(model.b.parameters(), lr=0.5)))
    recorder = Recorder(CosineEvidence())
    run(tmp_path, 'run', dict(ITERS), {'by_epoch': False, 'max_iters': 20}, recorder,
        optim=optimizers())
    assert recorder.rows[2] == {'a.lr': pytest.approx([0.04 / 7]), 'b.lr': pytest.approx([1 / 7])}
    for step, row in recorder.rows.items():
        assert row['a.lr'] == pytest.approx([curve(step, 0.02, 7, 20, 1e-4)], rel=1e-9)
        assert row['b.lr'] == pytest.approx([curve(step, 0.5, 7, 20, 1e-4)], rel=1e-9)
    assert recorder.finding().live is True


def halve_later(runner):
    if runner.iter > 10:
        runner.optim_wrapper.param_groups[2]['lr'] *= 0.5


def stand_still(runner):
    if runner.iter == 12:
        runner.param_schedulers.clear()


def nudge_once(runner):
    if runner.iter == 10:
        runner.optim_wrapper.param_groups[0]['lr'] *= 1.00001


@pytest.mark.parametrize(('scheduler', 'meddle', 'words'), [
    (None, None, 'at iteration 0'),
    ({'type': 'MultiStepLR', 'milestones': [9], 'by_epoch': False}, None, 'at iteration 0'),
    (ITERS, halve_later, 'at iteration'),
    (ITERS, nudge_once, '(at iteration 10)'),
    (ITERS, stand_still, 'at iteration'),
])
def test_a_broken_schedule_is_reported_as_not_live(tmp_path, scheduler, meddle, words):
    recorder = Recorder(CosineEvidence(), meddle)
    run(tmp_path, 'run', scheduler and dict(scheduler),
        {'by_epoch': False, 'max_iters': 20}, recorder)
    finding = recorder.finding()
    assert finding.live is False
    assert words in finding.measured


def test_a_stock_warm_up_longer_than_the_run_is_measured_at_its_shortened_length(tmp_path):
    recorder = Recorder(CosineEvidence())
    scheduler = {'type': EPOCHS['type'], 'convert_to_iter_based': True, 'warmup_iters': 1000,
                 'fit_warmup': True}
    runner = run(tmp_path, 'run', scheduler, {'by_epoch': True, 'max_epochs': 4}, recorder)
    assert isinstance(runner.param_schedulers[0], WarmupCosineLR)
    assert recorder.finding().live is True
    assert recorder.rows[1]['lr'][0] == 0.005
    assert recorder.rows[2]['lr'][0] == 0.01
