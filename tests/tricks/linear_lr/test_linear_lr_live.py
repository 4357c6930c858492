from __future__ import annotations

import types

import pytest
import torch

pytest.importorskip('mmengine')
from mmengine.optim import LinearLR, OptimWrapper, OptimWrapperDict  # noqa: E402

from tricks_plugin.tricks.linear_lr.evidence import BatchEvidence  # noqa: E402


def wrapper(lrs, accumulation=1):
    groups = [{'params': [torch.nn.Parameter(torch.ones(1))], 'lr': lr} for lr in lrs]
    return OptimWrapper(torch.optim.SGD(groups, lr=9.0), accumulative_counts=accumulation)


def measure(optim, batches, effective=6, lr=None):
    runner = types.SimpleNamespace(optim_wrapper=optim)
    evidence = BatchEvidence(effective, lr or {'optim_wrapper': 0.03})
    evidence.start(runner)
    for index, batch in enumerate(batches):
        evidence.before_iter(runner, index, batch)
    return evidence.finding(runner)


IMAGES = [torch.zeros(3, 4, 6)] * 3


@pytest.mark.parametrize('batch', [
    {'inputs': IMAGES, 'data_samples': []},
    {'inputs': {'sup': [IMAGES[0], None, None], 'unsup': [None, *IMAGES[1:]]}},
    {'inputs': torch.zeros(3, 1)},
    [torch.zeros(3, 5), torch.zeros(3)],
    (IMAGES, [0, 1, 0]),
])
def test_the_samples_of_every_kind_of_batch_are_counted(batch):
    finding = measure(wrapper([0.03, 0.003], accumulation=2), [batch])
    assert finding.live is True
    assert finding.values['samples'] == 3
    assert finding.measured.startswith('3 samples x 1 process x 2 accumulation = 6')


def test_the_lr_is_read_before_the_schedule_that_is_running():
    optim = wrapper([0.03], accumulation=2)
    LinearLR(optim, start_factor=0.01, end=9)
    assert optim.param_groups[0]['lr'] == pytest.approx(0.0003)
    assert measure(optim, [{'inputs': IMAGES}]).live is True


def test_a_smaller_last_batch_does_not_count():
    batches = [{'inputs': IMAGES}, {'inputs': IMAGES[:1]}]
    assert measure(wrapper([0.03], accumulation=2), batches).live is True


def test_nothing_is_said_before_the_first_batch():
    assert measure(wrapper([0.03]), []).live is None


@pytest.mark.parametrize(('optim', 'words'), [
    (wrapper([0.03], accumulation=1), '= 3'),
    (wrapper([0.03], accumulation=4), '= 12'),
    (wrapper([0.06, 0.006], accumulation=2), 'no group of optim_wrapper has the planned LR'),
])
def test_another_batch_or_lr_than_planned_is_reported_as_not_live(optim, words):
    finding = measure(optim, [{'inputs': IMAGES}])
    assert finding.live is False
    assert words in finding.measured


def test_other_hardware_is_reported_as_not_live(monkeypatch):
    monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: True)
    monkeypatch.setattr(torch.distributed, 'get_world_size', lambda: 4)
    finding = measure(wrapper([0.03], accumulation=2), [{'inputs': IMAGES}])
    assert (finding.live, finding.values['effective_batch_size']) == (False, [24])


def test_each_optimizers_lr_is_checked():
    both = OptimWrapperDict(g=wrapper([0.03], 2), d=wrapper([0.5], 2))
    plan = {'optim_wrapper.g': 0.03, 'optim_wrapper.d': 0.5}
    assert measure(both, [{'inputs': IMAGES}], lr=plan).live is True
    finding = measure(both, [{'inputs': IMAGES}], lr={**plan, 'optim_wrapper.d': 0.4})
    assert finding.live is False
    assert 'no group of optim_wrapper.d has the planned LR (base LRs 0.5)' in finding.measured


def test_mmengines_own_scaling_on_top_is_reported_as_not_live():
    from mmengine.runner import Runner
    optim = wrapper([0.03, 0.003], accumulation=2)
    runner = types.SimpleNamespace(
        _train_dataloader={'batch_size': 3}, world_size=1, param_schedulers=None,
        logger=types.SimpleNamespace(info=lambda text: None))
    Runner.scale_lr(runner, optim, {'enable': True, 'base_batch_size': 24})
    assert measure(optim, [{'inputs': IMAGES}]).live is False
