"""Real trainings of seconds: mixup on, then off, measured as it arrives, and broken on purpose."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

import tricks_plugin
from tricks_plugin.tricks.mixup.evidence import MixUpEvidence
from tricks_plugin.tricks.mixup.hook import mixup_transforms
from tricks_plugin.tricks.mixup.weighting.hook import MixUpWeightingHook


class Watch(Hook):
    """Notes which batches hold a weight other than 1, and sees the evidence as the run does."""

    priority = 'LOWEST'

    def __init__(self, evidence):
        self.evidence = evidence
        self.mixed = []
        self.switches = []
        self.finding = None

    def before_train(self, runner):
        self.evidence.start(runner)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.mixed.append(any((sample.gt_instances.mixup_weights != 1).any()
                              for sample in data_batch['data_samples']
                              if 'mixup_weights' in sample.gt_instances))
        self.evidence.before_iter(runner, batch_idx, data_batch)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.evidence.after_iter(runner, batch_idx, data_batch)
        if self.evidence.switched(runner):
            self.switches.append(runner.iter)

    def after_train(self, runner):
        self.finding = self.evidence.finding(runner)
        self.evidence.close()


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
    watch = Watch(MixUpEvidence(**promise.evidence))
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
    assert watch.finding.measured.startswith('8 of 8 samples mixed (4 iterations before the sw')


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
    (never_mix, '0 of 8 samples mixed'), (never_switch, '8 of 8 after the switch'),
    (never_weight, '0 positives weighted'), (no_weighting_hook, 'no head weighted'),
])
def test_a_silently_broken_part_is_seen_by_the_evidence(train_config, tamper, measured):
    train_config['train_dataloader']['batch_size'] = 4
    train_config['train_cfg']['max_epochs'] = 3
    watch = train(train_config, tamper, off_epochs=1)
    assert watch.finding.live is False
    assert measured.replace('0 of 8', '0 of 16') in watch.finding.measured


def test_too_few_samples_leave_the_verdict_open(train_config):
    train_config['train_cfg']['max_epochs'] = 1
    watch = train(train_config, never_mix, prob=0.2, off_fraction=0.0)
    # seven tries that could have been mixed: 0.8 ** 7 = 0.21 says nothing
    assert watch.finding.live is None and watch.finding.planned == 'alpha 1.5, prob 0.2, on ' \
        'to the end'
