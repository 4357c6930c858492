"""Plots of schedules: an LR of 0 fits on either axis, equal groups have one name."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from tricks_plugin.common.rates import Rates
from tricks_plugin.pictures.schedule import as_csv, plot


def ramp(momentum):
    lr = np.stack([np.r_[0.0, 0.5, np.ones(30), np.zeros(3)], np.full(35, 0.1)], 1)
    return Rates('ramp', lr, np.full(35, momentum), ('', 'slow'))


@pytest.mark.parametrize('log', [False, True])
def test_a_rate_of_zero_is_drawn_on_either_axis(log):
    pytest.importorskip('matplotlib')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert b'ramp: highest 1, last 0' in plot([ramp(0.9)], 'zero', 'svg', log)


def test_csv_names_the_groups_and_leaves_what_is_not_there_empty():
    rows = as_csv([ramp(np.nan)]).splitlines()
    assert rows[0] == 'curve,unit,step,epoch,group,lr,momentum'
    assert rows[3:5] == ['ramp,iteration,1,,,0.5,', 'ramp,iteration,1,,slow,0.1,']
