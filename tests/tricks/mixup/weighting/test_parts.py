"""What the adapters are made of: factors per row, calls of losses, and the tests' own tolerance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmdet.models.losses import GHMC, GHMR, EQLV2Loss, GaussianFocalLoss, L1Loss, SeesawLoss
from support.weighting.kit import float32_sum, rounding

from tricks_plugin.tricks.mixup.weighting.losses import LossCall, accept_weight, ignores_weight
from tricks_plugin.tricks.mixup.weighting.tensors import select, shaped, spread, times

pytestmark = pytest.mark.slow

MASK = torch.tensor([False, True, True, False, True])


def test_select_gives_what_a_mask_selects_in_order_and_the_others_behind():
    values = torch.tensor([5., 6., 7., 8., 9.])
    assert select(values, MASK, 3).tolist() == [6, 7, 9]
    assert select(values, MASK).tolist() == [6, 7, 9, 5, 8]
    assert select(values, torch.zeros(5, dtype=torch.bool), 0).tolist() == []


def test_spread_is_1_outside_of_the_mask():
    assert spread(MASK, torch.tensor([2., 3., 4.])).tolist() == [1, 2, 3, 1, 4]
    assert spread(MASK.view(1, 5), torch.tensor([2., 3., 4.])).tolist() == [[1, 2, 3, 1, 4]]
    assert spread(torch.zeros(2, dtype=torch.bool), torch.empty(0)).tolist() == [1, 1]


def test_a_factor_multiplies_all_of_its_row_and_keeps_the_weight_s_type():
    factor = torch.tensor([2., 3.])
    assert times(torch.tensor([[1., 5.], [7., 1.]]), factor).tolist() == [[2, 10], [21, 3]]
    assert times(torch.ones(2, dtype=torch.float16), factor).dtype == torch.float16
    assert times(None, factor) is factor
    assert shaped(factor, torch.empty(2, 3, 4)).shape == (2, 1, 1)


def test_a_call_of_a_loss_gets_another_weight_wherever_it_had_one():
    pred, target, factor = torch.zeros(2, 2), torch.ones(2, 2), torch.tensor([2., 3.])
    row, element = [2, 3], [[2, 2], [3, 3]]
    for elementwise, bare in ((False, row), (True, element)):
        for call, want in ((LossCall((pred, target), dict(avg_factor=4)), bare),
                           (LossCall((pred, target), dict(weight=None)), bare),
                           (LossCall((pred, target), dict(weight=torch.ones(2))), row),
                           (LossCall((pred, target, None, 4), {}), bare),
                           (LossCall((pred, target, torch.ones(2, 2), 4), {}), element)):
            got = call.times(factor, elementwise)
            assert got.weight.tolist() == want
            assert got.args[3:] == call.args[3:] and got.kwargs.get('avg_factor') == \
                call.kwargs.get('avg_factor')
    seesaw = LossCall((pred, target), dict(label_weights=torch.ones(2))).times(factor, False)
    assert seesaw.kwargs['label_weights'].tolist() == row and 'weight' not in seesaw.kwargs


class Passing(L1Loss):
    """A user's loss that passes on what it gets."""

    def forward(self, *args, **kwargs):
        return 2 * super().forward(*args, **kwargs)


class UsersGHMC(GHMC):
    """Somebody's own."""


@pytest.mark.parametrize(('loss', 'ignores', 'accepts'), [
    (L1Loss(), False, True), (GaussianFocalLoss(), False, True), (Passing(), False, True),
    (EQLV2Loss(num_classes=2), True, False), (GHMC(), True, False), (GHMR(), True, False),
    (UsersGHMC(), True, False), (SeesawLoss(num_classes=2), False, False),
    (torch.nn.L1Loss(), False, False), (torch.nn.functional.l1_loss, False, False)])
def test_which_losses_obey_a_weight(loss, ignores, accepts):
    head = torch.nn.Module() if isinstance(loss, torch.nn.Module) else type('Head', (), {})()
    head.loss = loss
    assert ignores_weight(loss) is ignores
    assert accept_weight(head, ['loss']) is accepts


def test_two_names_of_one_loss_are_not_two_losses():
    head = torch.nn.Module()
    head.one = head.two = L1Loss()
    assert accept_weight(head, ['one']) and not accept_weight(head, ['one', 'two'])


def test_the_tolerance_holds_for_any_order_of_a_sum_and_not_for_a_wrong_weight():
    rng = np.random.RandomState(4)
    terms = rng.rand(24576).astype(np.float32) ** 4
    exact = terms.sum(dtype=np.float64)
    sums = [rng.permutation(terms).cumsum(dtype=np.float32)[-1] for _ in range(20)]
    assert len(set(sums)) > 10  # the order does matter
    assert all(float(got) == float32_sum(exact, exact, rel=0) for got in sums)
    box = terms[:200].sum(dtype=np.float64)  # a part of less than a hundredth
    assert box < 0.01 * exact
    assert float(exact - 0.3 * box) != float32_sum(exact - 0.32 * box, exact, rel=0)
    assert rounding(20.0, terms=2000) == pytest.approx(2.13e-4, rel=1e-2)
