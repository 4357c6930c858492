"""The batch and the LR of trainings that go right, and of others."""

from __future__ import annotations

import types

import pytest
import torch

pytest.importorskip('mmengine')
from mmengine.config import Config  # noqa: E402
from mmengine.optim import LinearLR, OneCycleLR, OptimWrapper, OptimWrapperDict  # noqa: E402

from tricks_plugin.mm.training import RunnerTraining  # noqa: E402
from tricks_plugin.tricks.linear_lr.evidence import BatchEvidence  # noqa: E402

IMAGES = [torch.zeros(3, 4, 6)] * 3


def wrapper(lrs, accumulation=1):
    groups = [{'params': [torch.nn.Parameter(torch.ones(1))], 'lr': lr} for lr in lrs]
    return OptimWrapper(torch.optim.SGD(groups, lr=9.0), accumulative_counts=accumulation)


def config(lr=0.03, base=6, **more):
    lrs = lr if isinstance(lr, dict) else {'': lr}
    optim = {name: {'optimizer': {'type': 'SGD', 'lr': value}} for name, value in lrs.items()}
    return {'optim_wrapper': optim.get('', optim), 'auto_scale_lr': {'base_batch_size': base},
            **more}


def measure(optim, batches, cfg=None, meddle=None, **promise):
    """Every ``accumulation``-th batch ends with a step of the optimizers."""
    runner = types.SimpleNamespace(optim_wrapper=optim, epoch=0, cfg=Config(cfg or config()))
    training, evidence = RunnerTraining(runner), BatchEvidence(**promise)
    runner.iter = 0
    training.watch()
    evidence.start(training)
    for index, batch in enumerate(batches):
        if meddle:
            meddle(index, optim)
        training.begin(batch)
        evidence.before_iteration(training)
        counts = training.accumulation
        for name, one in training.optimizers.items():
            if (index + 1) % counts[name] == 0:
                one.step()
        before = training.updates
        training.end({})
        if training.updates > before:
            evidence.on_update(training)
    return evidence.finding(training)


@pytest.mark.parametrize('batch', [
    {'inputs': IMAGES, 'data_samples': []},
    {'inputs': {'sup': [IMAGES[0], None, None], 'unsup': [None, *IMAGES[1:]]}},
    {'inputs': torch.zeros(3, 1)},
    [torch.zeros(3, 5), torch.zeros(3)],
    (IMAGES, [0, 1, 0]),
])
def test_the_samples_of_every_kind_of_batch_are_counted(batch):
    finding = measure(wrapper([0.03, 0.003], accumulation=2), [batch] * 2)
    assert finding.live is True
    assert finding.values['images_per_update'] == 6
    assert finding.measured.startswith('6 images per update (1 process)')


BATCH = {'inputs': IMAGES}


def test_the_lr_is_read_before_the_schedule_that_is_running():
    optim = wrapper([0.03], accumulation=2)
    LinearLR(optim, start_factor=0.01, end=9)
    assert optim.param_groups[0]['lr'] == pytest.approx(0.0003)
    assert measure(optim, [BATCH] * 2).live is True


def test_under_one_cycle_the_peak_is_what_is_scaled():
    cfg = config(lr=0.5, param_scheduler=[{'type': 'OneCycleLR', 'eta_max': 0.03}])
    for peak, live in ((0.03, True), (0.12, False)):
        optim = wrapper([0.5], accumulation=2)
        OneCycleLR(optim, eta_max=peak, total_steps=9)
        finding = measure(optim, [BATCH] * 2, cfg)
        assert finding.live is live, finding.measured
        assert finding.planned == 'lr 0.03 x images per update / 6'


@pytest.mark.parametrize(('lr', 'base'), [(0.03, 6), (0.01, 2), (0.08, 16)])
def test_the_rule_is_judged_and_not_its_numbers(lr, base):
    # lr / base is 0.005 an image in each: mmengine's own scaling, or ours.
    assert measure(wrapper([0.03], 2), [BATCH] * 2, config(lr, base)).live is True
    assert measure(wrapper([lr * 1.1], 2), [BATCH] * 2, config(lr, base)).live is False


def test_smaller_last_batches_do_not_count():
    batches = [BATCH, BATCH, BATCH, {'inputs': IMAGES[:1]}] * 2
    assert measure(wrapper([0.03]), [BATCH, {'inputs': IMAGES[:1]}], config(base=3)).live is True
    assert measure(wrapper([0.03], 1), batches, config(base=3)).live is True


@pytest.mark.parametrize('batches', [0, 1, 7])
def test_nothing_is_said_before_the_first_update(batches):
    finding = measure(wrapper([0.03], 8), [BATCH] * batches, config(base=24))
    assert (finding.live, finding.measured) == (None, 'no update yet')


@pytest.mark.parametrize(('optim', 'words'), [
    (wrapper([0.03], accumulation=1), '3 images per update'),
    (wrapper([0.03], accumulation=4), '12 images per update'),
    (wrapper([0.06, 0.006], accumulation=2), 'no group has that LR (base LRs 0.006, 0.06)'),
])
def test_another_batch_or_lr_than_planned_is_dead(optim, words):
    finding = measure(optim, [BATCH] * 8)
    assert finding.live is False
    assert words in finding.measured


def accumulate_less(index, optim):
    if index == 8:
        optim._accumulative_counts = 1


def scale_again(index, optim):
    if index == 8:
        for group in optim.param_groups:
            group['initial_lr'] *= 2


@pytest.mark.parametrize('meddle', [accumulate_less, scale_again])
def test_a_batch_or_rate_that_changes_after_a_good_start_is_dead(meddle):
    optim = wrapper([0.03], accumulation=2)
    LinearLR(optim, start_factor=0.01, end=9)
    assert measure(optim, [BATCH] * 8, meddle=meddle).live is True
    assert measure(optim, [BATCH] * 40, meddle=meddle).live is False


def test_other_hardware_is_dead(monkeypatch):
    monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: True)
    monkeypatch.setattr(torch.distributed, 'get_world_size', lambda: 4)
    finding = measure(wrapper([0.03], accumulation=2), [BATCH] * 2)
    assert (finding.live, finding.values['images_per_update']) == (False, 24)


def test_each_optimizers_lr_is_checked():
    both = OptimWrapperDict(g=wrapper([0.03], 2), d=wrapper([0.5], 2))
    assert measure(both, [BATCH] * 2, config({'g': 0.03, 'd': 0.5})).live is True
    finding = measure(both, [BATCH] * 2, config({'g': 0.03, 'd': 0.4}))
    assert finding.live is False
    assert 'no group of d has that LR (base LRs 0.5)' in finding.measured


def test_where_another_sets_the_rate_the_batch_is_measured_still():
    assert measure(wrapper([0.7], 2), [BATCH] * 2, rate=False).live is True
    assert measure(wrapper([0.7], 1), [BATCH] * 2, rate=False).live is False


def test_mmengines_own_scaling_on_top_is_dead():
    from mmengine.runner import Runner
    optim = wrapper([0.03, 0.003], accumulation=2)
    runner = types.SimpleNamespace(
        _train_dataloader={'batch_size': 3}, world_size=1, param_schedulers=None,
        logger=types.SimpleNamespace(info=lambda text: None))
    Runner.scale_lr(runner, optim, {'enable': True, 'base_batch_size': 24})
    assert measure(optim, [BATCH] * 2).live is False
