"""RoI heads: every box, mask and grid head's positive terms are weighted, and nothing else."""

from __future__ import annotations

import functools

import pytest
from support.weighting.kit import build, prove, training_step
from support.weighting.roi_cases import CASES, compute, detector, extras, head_config

pytestmark = pytest.mark.slow

# Losses that no box has a part in.
UNWEIGHTED = ('loss_semantic_seg', 'loss_glbctx')


@pytest.mark.parametrize('name', [name for name in CASES if name != 'trident'])
def test_weights_of_one_give_upstream_s_losses_and_the_losses_are_linear_in_the_weights(name):
    head = build(head_config(name)).train()
    names = {key for key in compute(head, name, None) if 'loss' in key} - set(UNWEIGHTED)
    _, parts = prove([head], functools.partial(compute, head, name), weighted=names)
    for key in UNWEIGHTED:
        assert all(part.get(key, 0.) == 0 for row in parts for part in row)


@pytest.mark.parametrize('name', CASES)
def test_a_step_through_the_real_detector_is_weighted(name):
    names = [f'roi_head.{part}' for part in CASES[name][3]]
    training_step(detector(name), names, masks=True, extras=functools.partial(extras, name),
                  init=name in ('sparse', 'queryinst', 'trident'))
