"""Real trainings of seconds: mixup on, then off, measured as it arrives, and broken on purpose."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

import tricks_plugin
from tricks_plugin.mm.training import RunnerTraining
from tricks_plugin.tricks.mixup.evidence import MixUpEvidence
from tricks_plugin.tricks.mixup.hook import mixup_transforms
from tricks_plugin.tricks.mixup.weighting.hook import MixUpWeightingHook

pytestmark = pytest.mark.slow


class Watch(Hook):
    """Notes which batches hold a weight other than 1, and sees the evidence as the run does."""

    priority = 'LOWEST'

    def __init__(self, evidence):
        self.evidence = evidence
        self.mixed = []
        self.switches = []
        self.finding = None

    def before_train(self, runner):
        self.training = RunnerTraining(runner)
        self.training.watch()
        self.evidence.start(self.training)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.mixed.append(any((sample.gt_instances.mixup_weights != 1).any()
                              for sample in data_batch['data_samples']
                              if 'mixup_weights' in sample.gt_instances))
        self.training.begin(data_batch)
        self.evidence.before_iteration(self.training)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.training.end(outputs)
        self.evidence.after_iteration(self.training)
        if self.evidence.switched(self.training):
            self.switches.append(runner.iter)

    def after_train(self, runner):
        self.finding = self.evidence.finding(self.training)
        self.evidence.close()
        self.training.release()


def train(cfg, tamper=None, **params):
    """Trains; ``tamper(runner)`` breaks something after the plan was made. Returns the watch."""
    torch.set_num_threads(1)
    cfg, plan = tricks_plugin.apply_tricks(Config(cfg), tricks=dict(mixup=params))
    promise = next(row for row in plan.tricks if row.name == 'mixup')
    assert promise.status == 'applied'
    cfg.custom_hooks = [hook for hook in cfg.custom_hooks if 'Evidence' not in hook['type']]
    cfg.pop('runner_type', None)
    cfg.experiment_name = f'mixup-{id(cfg)}'
    runner = Runner.from_cfg(cfg)
    watch = Watch(MixUpEvidence(**promise.promise))
    runner.register_hook(watch)
    if tamper:
        tamper(runner)
    runner.train()
    return watch


def test_a_training_is_mixed_and_weighted_and_then_off(train_config):
    watch = train(train_config)
    assert watch.mixed == [True] * 4 + [False] * 4
    values = watch.finding.values
    assert watch.finding.live is True and watch.switches == [4]
    assert watch.finding.planned == 'alpha 1.5, off from epoch 1'
    assert (values['samples'], values['mixed']) == (8, 8)
    assert (values['samples_after_switch'], values['mixed_after_switch']) == (8, 0)
    assert 0 < values['weight_min'] < values['weight_mean'] < values['weight_max'] < 1
    assert values['weighted_heads'] == ['bbox_head (YOLOV3Head)']
    assert values['weighted_positives'] > 0
    assert watch.finding.measured.startswith('8 of 8 samples mixed (4 of 4 batches looked at be')


def never_mix(runner):
    for transform in mixup_transforms(runner.train_dataloader.dataset):
        transform._draw = lambda results: (None, 1.0)


def never_switch(runner):
    runner._hooks = [hook for hook in runner.hooks if type(hook).__name__ != 'MixUpOffHook']


def never_weight(runner):
    hook = next(hook for hook in runner.hooks if isinstance(hook, MixUpWeightingHook))
    hook.before_train = lambda runner: hook.weighted_heads.append('bbox_head')


def no_weighting_hook(runner):
    runner._hooks = [hook for hook in runner.hooks if not isinstance(hook, MixUpWeightingHook)]


@pytest.mark.parametrize('tamper, measured', [
    (never_mix, '0 of 24 samples mixed'), (never_switch, '8 of 8 after the switch'),
    (never_weight, '0 positives weighted'), (no_weighting_hook, 'no head weighted'),
])
def test_a_silently_broken_part_is_seen_by_the_evidence(train_config, tamper, measured):
    train_config['train_dataloader']['batch_size'] = 4
    train_config['train_cfg']['max_epochs'] = 4
    watch = train(train_config, tamper, off_epochs=1)
    assert watch.finding.live is False
    assert measured in watch.finding.measured


class Breaks(Hook):
    """Breaks the mixing, or its probability, after a good start."""

    def __init__(self, how):
        self.how = how

    def before_train_epoch(self, runner):
        if runner.epoch == 1:
            for transform in mixup_transforms(runner.train_dataloader.dataset):
                self.how(transform)


@pytest.mark.parametrize('how', [
    lambda transform: setattr(transform, 'prob', 0.0),
    lambda transform: setattr(transform, '_draw', lambda results: (None, 1.0))])
def test_a_mixing_that_stops_after_a_good_start_is_seen(train_config, how):
    train_config['train_cfg']['max_epochs'] = 4
    watch = train(train_config, lambda runner: runner.register_hook(Breaks(how)), off_fraction=0.0)
    finding = watch.finding
    assert finding.live is False and finding.values['mixed'] == 8
    assert 'none of the last 24' in finding.measured


def test_the_moment_is_that_of_a_pipeline_switch_where_it_comes_first(train_config):
    pipeline = train_config['train_dataloader']['dataset']['pipeline']
    train_config['custom_hooks'] = [dict(
        type='PipelineSwitchHook', switch_epoch=1, switch_pipeline=list(pipeline))]
    train_config['train_cfg']['max_epochs'] = 4
    watch = train(train_config, off_epochs=1)
    assert watch.mixed == [True] * 4 + [False] * 12
    assert watch.finding.planned == 'alpha 1.5, off from epoch 1' and watch.finding.live is True
    assert watch.finding.values['samples_after_switch'] == 24


def test_a_run_that_was_over_before_it_was_resumed_claims_nothing(train_config):
    train_config['default_hooks']['checkpoint'] = dict(type='CheckpointHook', interval=2)
    train(dict(train_config))
    train_config.update(resume=True, load_from=f'{train_config["work_dir"]}/epoch_2.pth')
    watch = train(train_config)
    assert watch.mixed == [] and watch.finding.live is None
    assert watch.finding.measured == 'no batch seen'


def test_too_few_samples_leave_the_verdict_open(train_config):
    train_config['train_cfg']['max_epochs'] = 1
    watch = train(train_config, never_mix, prob=0.2, off_fraction=0.0)
    # seven tries that could have been mixed: 0.8 ** 7 = 0.21 says nothing
    assert watch.finding.live is None and watch.finding.planned == 'alpha 1.5, prob 0.2, on ' \
        'to the end'
