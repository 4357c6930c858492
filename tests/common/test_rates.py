"""The telling steps of a schedule, on curves written down by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tricks_plugin.common.rates import Rates


def rates(lr, momentum=0.9):
    lr = np.array(lr, float)[:, None]
    return Rates('x', lr, np.broadcast_to(np.array(momentum, float), len(lr)))


def test_a_step_decay_has_its_steps_as_joints_and_no_warmup():
    one = rates([1.0] * 4 + [0.1] * 3 + [0.01] * 2)
    assert one.joints == [4, 7] and one.warmup_end is None
    assert one.marks == {'first': 0, 'middle': 4, 'last': 8}
    assert one.constant_momentum == 0.9


@pytest.mark.parametrize('lr', [
    np.linspace(0, 1, 6), np.cos(np.linspace(0, 1.5, 40)), [1.0, 1.0], [0.5],
    [0.9 ** (step // 5) for step in range(100)]])  # too many steps to mark
def test_smooth_short_and_crowded_curves_have_no_joints(lr):
    assert rates(lr).joints == []


def test_the_warmup_ends_at_the_first_of_the_highest():
    one = rates([0.0, 0.5, 1.0, 1.0, 0.1, 0.1])
    assert one.warmup_end == 2 and one.marks['warmup_end'] == 2
    assert rates([1.0], momentum=np.nan).constant_momentum is None
    assert rates([1.0, 1.0], momentum=[0.8, 0.9]).constant_momentum is None
