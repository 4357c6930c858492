"""The tests' own helpers."""

from __future__ import annotations

import pytest
import torch
from support.sums import tolerance


def test_the_tolerance_of_a_sum_by_hand():
    # 2 x (10 terms + 6 operations) x 2^-24 x 4
    assert tolerance(10, 4.0, operations=6) == 128 / 2 ** 24
    assert tolerance(10, 4.0, operations=6, dtype=torch.float64) == 128 / 2 ** 53


@pytest.mark.parametrize('terms', [3, 100, 500])
def test_sums_in_any_order_lie_within_it(terms):
    values = torch.randn(terms, generator=torch.Generator().manual_seed(terms))
    size, exact = float(values.abs().sum()), float(values.double().sum())
    one_by_one = torch.zeros(())
    for value in values.sort().values:  # the worst of orders: all negative ones first
        one_by_one = one_by_one + value
    allowed = tolerance(terms, size)
    assert abs(float(one_by_one) - exact) <= allowed
    assert abs(float(values.sum()) - exact) <= allowed
    # and it is no blank cheque: a single term that is missing is noticed
    assert allowed < float(values.abs().median())
