"""Who sets the learning rate of a config."""

from __future__ import annotations

import copy
import re

import pytest

pytest.importorskip('mmengine')
from mmengine.config import Config  # noqa: E402
from mmengine.hooks import Hook, ParamSchedulerHook  # noqa: E402
from mmengine.registry import HOOKS  # noqa: E402

import tricks_plugin  # noqa: E402
from tricks_plugin.mm.schedules import driver  # noqa: E402


class RateHookOfOurs(ParamSchedulerHook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        pass


class QuietSchedulerHook(ParamSchedulerHook):
    def __init__(self, note=''):
        self.note = note


class DecayAtNight(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        for group in runner.optim_wrapper.optimizer.param_groups:
            group['lr'] *= 0.99


class ShowsTheRate(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.last = [group['lr'] == 0 for group in runner.optim_wrapper.optimizer.param_groups]


@pytest.fixture(autouse=True)
def _registered():
    kinds = (RateHookOfOurs, QuietSchedulerHook, DecayAtNight, ShowsTheRate)
    for kind in kinds:
        HOOKS.register_module(module=kind)
    yield
    for kind in kinds:
        HOOKS._module_dict.pop(kind.__name__)


def config(default=None, custom=()):
    cfg = dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.02)),
               train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=12),
               train_dataloader=dict(batch_size=4), auto_scale_lr=dict(base_batch_size=16),
               param_scheduler=[dict(type='StepLR', step_size=4)], custom_hooks=list(custom),
               default_scope='mmengine')
    if default is not None:
        cfg['default_hooks'] = default
    return cfg


@pytest.mark.parametrize('cfg', [
    config(), config({}), config({'param_scheduler': {'type': 'ParamSchedulerHook'}}),
    config({'param_scheduler': {'type': 'QuietSchedulerHook', 'note': 'x'}}),
    config({'param_scheduler': None}, [{'type': 'ParamSchedulerHook'}]),
    config(custom=[{'type': 'ShowsTheRate'}, {'type': 'UnknownLRMonitorHook'},
                   {'type': 'EMAHook'}, {'type': 'UnknownHook'}]),
])
def test_mmengines_own_hook_steps_the_schedules(cfg):
    assert driver(cfg) == ''


OTHERS = [
    (config({'param_scheduler': {'type': 'RateHookOfOurs'}}),
     'default_hooks.param_scheduler is RateHookOfOurs in the place of ParamSchedulerHook'),
    (config({'param_scheduler': {'type': 'mmyolo.PPYOLOEParamSchedulerHook'}}),
     'default_hooks.param_scheduler is PPYOLOEParamSchedulerHook, a class that could not be'),
    (config({'param_scheduler': None}), 'default_hooks.param_scheduler is None'),
    (config(custom=[{'type': 'EMAHook'}, {'type': 'DecayAtNight'}]),
     'custom_hooks[1] is DecayAtNight, which sets the learning rate of the parameter groups'),
    (config(custom=[{'type': 'RateHookOfOurs'}]), 'custom_hooks[0] is RateHookOfOurs'),
    (config(custom=[{'type': 'UnknownLRHook'}]),
     'custom_hooks[0] is UnknownLRHook, which sets the learning rate by its name; its class'),
]


@pytest.mark.parametrize(('cfg', 'words'), OTHERS)
def test_another_driver_is_named_and_no_schedule_is_claimed(cfg, words):
    assert driver(cfg).startswith(words)
    for trick in ('cosine_warmup', 'step_decay'):
        _, plan = tricks_plugin.apply_tricks(Config(copy.deepcopy(cfg)), trick)
        row = plan[trick]
        assert row.status == 'not_applicable' and row.reason.startswith(words)
    effective, plan = tricks_plugin.apply_tricks(Config(copy.deepcopy(cfg)), 'linear_lr')
    row, nobody = plan['linear_lr'], words.endswith('None')
    assert (row.status, row.promise) == ('applied', {} if nobody else {'rate': False})
    assert (words in row.reason) is not nobody
    assert effective.optim_wrapper.optimizer.lr == pytest.approx(0.005)


def test_a_config_of_mmdet_2_is_named_as_one():
    old = dict(optimizer=dict(type='SGD', lr=0.02), lr_config=dict(policy='step', step=[8, 11]),
               runner=dict(type='EpochBasedRunner', max_epochs=12), data=dict(samples_per_gpu=2))
    for trick in ('linear_lr', 'cosine_warmup', 'step_decay'):
        row = tricks_plugin.apply_tricks(Config(old), trick)[1][trick]
        assert row.status == 'not_applicable'
        assert re.search(r'a config of mmdet 2.x \(optimizer, lr_config, runner, data at the top\)',
                         row.reason)
    _, plan = tricks_plugin.apply_tricks(Config(dict(model=dict(), data=1)), 'linear_lr')
    assert 'mmdet 2' not in plan['linear_lr'].reason
