"""The smoothed losses: numbers worked by hand, and the parent's behaviour kept."""

from __future__ import annotations

import copy

import pytest
import torch
from support.sums import tolerance

pytest.importorskip('mmdet')

from mmdet.models.losses import CrossEntropyLoss, FocalLoss  # noqa: E402
from mmdet.registry import MODELS  # noqa: E402

from tricks_plugin.tricks.label_smoothing.loss import (  # noqa: E402
    SmoothedCrossEntropyLoss,
    SmoothedFocalLoss,
)

# In float64, as all logits here: sums do not depend on their order. What was worked by hand has
# seven decimals, and the smoothed targets are float32, off by 2^-24 at most each; they multiply
# logits whose magnitudes add up to 4.
SOFTMAX = torch.tensor([[2.0, 1.0, 0.0, -1.0]], dtype=torch.float64)
SIGMOID = torch.tensor([[1.0, -1.0, 0.0, 2.0], [1.0, -1.0, 0.0, 2.0]], dtype=torch.float64)
DECIMALS = 5.1e-8 + 4 * 2 ** -24
# Logits 1, -1, 0, 2 against the targets 0.85, 0.05, 0.05, 0.05 (szegedy, eps 0.2, K=4), and
# against 0: softplus(x) - t x.
BCE = [[0.4632617, 0.3632617, 0.6931472, 2.0269280], [1.3132617, 0.3132617, 0.6931472, 2.1269280]]
# The same times (0.25 t + 0.75 (1 - t)) ((1 - p) t + p (1 - t))^2.
FOCAL = [[0.0172270, 0.0224628, 0.1256329, 1.0436148], [0.5264012, 0.0169935, 0.1299651, 1.2375586]]


def _batch(classes, seed=5):
    generator = torch.Generator().manual_seed(seed)
    pred = torch.randn(9, classes, generator=generator, dtype=torch.float64)
    return pred, torch.randint(0, classes, (9,), generator=generator), \
        torch.rand(9, generator=generator, dtype=torch.float64)


def test_softmax_loss_of_one_row_by_hand():
    loss = SmoothedCrossEntropyLoss(eps=0.1, loss_weight=3.0)
    assert loss.smoother.variant == 'he'
    assert loss(SOFTMAX, torch.tensor([0])).item() == pytest.approx(3 * 0.6401897, abs=3 * DECIMALS)


def test_sigmoid_loss_by_hand_smooths_the_object_and_not_the_background():
    loss = SmoothedCrossEntropyLoss(use_sigmoid=True, eps=0.2, reduction='none')
    assert loss.smoother.variant == 'szegedy'
    # mmdet's sigmoid loss computes in float32
    torch.testing.assert_close(loss(SIGMOID, torch.tensor([0, 4])), torch.tensor(BCE),
                               atol=DECIMALS + tolerance(1, 2.2), rtol=0)


def test_focal_loss_by_hand_smooths_the_object_and_not_the_background():
    loss = SmoothedFocalLoss(eps=0.2, reduction='none', loss_weight=2.0)
    expected = 2 * torch.tensor(FOCAL, dtype=torch.float64)
    hot = torch.tensor([[1, 0, 0, 0], [0, 0, 0, 0]])
    for target in (torch.tensor([0, 4]), hot):
        torch.testing.assert_close(loss(SIGMOID, target), expected, atol=2 * DECIMALS, rtol=0)
    activated = SmoothedFocalLoss(eps=0.2, reduction='none', loss_weight=2.0, activated=True)
    for target in (torch.tensor([0, 4]), hot):
        torch.testing.assert_close(activated(SIGMOID.sigmoid(), target), expected,
                                   atol=2 * DECIMALS, rtol=0)


def test_weight_and_avg_factor_scale_focal_rows_in_every_shape_of_weight():
    loss = SmoothedFocalLoss(eps=0.2)
    by_hand = (2 * sum(FOCAL[0]) + 0.5 * sum(FOCAL[1])) / 7
    per_row = torch.tensor([2.0, 0.5])
    per_value = per_row.view(-1, 1).expand(2, 4)
    for weight in (per_row, per_value, per_value.reshape(-1)):
        value = loss(SIGMOID, torch.tensor([0, 4]), weight, avg_factor=7)
        assert value.item() == pytest.approx(by_hand, abs=4 * 2.5 / 7 * DECIMALS)


@pytest.mark.parametrize('kwargs', [
    {}, {'class_weight': [0.3, 1.7, 2.1, 0.9, 1.3]}, {'ignore_index': 2},
    {'ignore_index': 2, 'avg_non_ignore': True}, {'reduction': 'sum', 'loss_weight': 0.7},
])
@pytest.mark.parametrize('sigmoid', [False, True])
@pytest.mark.parametrize('call', [
    {}, {'weight': True}, {'reduction_override': 'none'}, {'ignore_index': 1},
])
def test_without_smoothing_cross_entropy_is_the_parent_s(kwargs, sigmoid, call):
    pred, label, weight = _batch(5)
    call = {**call, **({'weight': weight} if 'weight' in call else {})}
    if sigmoid:
        label[3] = 5
    ours = SmoothedCrossEntropyLoss(use_sigmoid=sigmoid, eps=0.0, **kwargs)(pred, label, **call)
    parent = CrossEntropyLoss(use_sigmoid=sigmoid, **kwargs)(pred, label, **call)
    # the sigmoid loss is in float32, a sum of 9 x 5 positive terms
    torch.testing.assert_close(ours, parent, atol=1e-12,
                               rtol=tolerance(45, 1.0) if sigmoid else 1e-12)


def test_without_smoothing_one_hot_targets_and_their_weights_are_the_parent_s():
    generator = torch.Generator().manual_seed(1)
    pred = torch.randn(2, 7, 3, generator=generator, dtype=torch.float64)
    hot = torch.nn.functional.one_hot(torch.randint(0, 3, (2, 7), generator=generator), 3).float()
    weight = (torch.rand(2, 7, 1, generator=generator) > 0.4).float()
    ours = SmoothedCrossEntropyLoss(use_sigmoid=True, eps=0.0)(pred, hot, weight=weight)
    parent = CrossEntropyLoss(use_sigmoid=True)(pred, hot, weight=weight)
    torch.testing.assert_close(ours, parent, atol=0, rtol=tolerance(42, 1.0))


@pytest.mark.parametrize('call', [
    {}, {'weight': True}, {'weight': True, 'avg_factor': 3.5}, {'reduction_override': 'sum'},
])
def test_without_smoothing_focal_is_the_parent_s_with_its_gradient(call):
    pred, label, weight = _batch(5)
    label[[2, 7]] = 5
    call = {**call, **({'weight': weight} if 'weight' in call else {})}
    grads, values = [], []
    for loss in (SmoothedFocalLoss(eps=0.0, gamma=1.5, alpha=0.4), FocalLoss(gamma=1.5, alpha=0.4)):
        logits = pred.clone().requires_grad_()
        values.append(loss(logits, label, **call))
        values[-1].sum().backward()
        grads.append(logits.grad)
    torch.testing.assert_close(values[0], values[1], atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(grads[0], grads[1], atol=1e-12, rtol=1e-12)


def test_the_focal_gradient_is_that_of_the_smoothed_formula():
    logits = SIGMOID.double()
    loss = SmoothedFocalLoss(eps=0.2)

    def total(moved):
        return loss(moved, torch.tensor([0, 4]), reduction_override='sum')

    gradient, = torch.autograd.grad(total(logits.requires_grad_()), logits)
    step = 1e-4
    for row, column in ((0, 0), (0, 3), (1, 3)):
        move = torch.zeros(2, 4, dtype=torch.float64)
        move[row, column] = step
        slope = (total(logits.detach() + move) - total(logits.detach() - move)) / (2 * step)
        assert gradient[row, column].item() == pytest.approx(slope.item(), abs=1e-6)


def test_rows_to_ignore_cost_nothing_and_leave_the_average_where_asked():
    pred = SOFTMAX.repeat(3, 1)
    label = torch.tensor([0, 255, 2])
    plain = SmoothedCrossEntropyLoss(ignore_index=255, avg_non_ignore=False)
    counted = SmoothedCrossEntropyLoss(ignore_index=255, avg_non_ignore=True)
    total = 0.6401897 + 2.3735230
    assert plain(pred, label).item() == pytest.approx(total / 3, abs=DECIMALS)
    assert counted(pred, label).item() == pytest.approx(total / 2, abs=DECIMALS)
    assert plain(pred, label, avg_factor=4).item() == pytest.approx(total / 4, abs=DECIMALS)


def test_no_object_in_the_batch_is_no_error():
    background = torch.full((2,), 4)
    total = SmoothedFocalLoss(eps=0.2)(SIGMOID, background, reduction_override='sum')
    assert total.item() == pytest.approx(2 * sum(FOCAL[1]), abs=8 * DECIMALS)
    assert SmoothedFocalLoss()(SIGMOID[:0], background[:0], avg_factor=1).item() == 0


def test_the_losses_are_built_from_a_config_and_leave_the_state_dict_alone():
    loss = MODELS.build(dict(type='tricks_plugin.SmoothedFocalLoss', use_sigmoid=True, alpha=0.4,
                             eps=0.07, variant='he'))
    assert isinstance(loss, FocalLoss)
    assert (loss.alpha, loss.smoother.eps, loss.smoother.variant) == (0.4, 0.07, 'he')
    assert not loss.state_dict()
    assert not SmoothedCrossEntropyLoss().state_dict()


def test_a_copied_loss_uses_its_own_smoother():
    loss = SmoothedCrossEntropyLoss(eps=0.1)
    other = copy.deepcopy(loss)
    other.smoother.eps = 0.0
    assert other(SOFTMAX, torch.tensor([0])).item() == pytest.approx(0.4401897, abs=DECIMALS)
    assert loss(SOFTMAX, torch.tensor([0])).item() == pytest.approx(0.6401897, abs=DECIMALS)


@pytest.mark.parametrize(('make', 'message'), [
    (lambda: SmoothedCrossEntropyLoss(use_mask=True), 'use_mask must be False'),
    (lambda: SmoothedCrossEntropyLoss(variant='gluoncv'), "sum to 1 for a softmax, got 'gluoncv'"),
    (lambda: SmoothedFocalLoss(eps=1.2), 'eps must be at least 0 and below 1, got 1.2'),
    (lambda: SmoothedFocalLoss(variant=''), "variant must be one of .* got ''"),
    (lambda: SmoothedCrossEntropyLoss(use_sigmoid=True)(SIGMOID[0], torch.ones(4)),
     r'pred must be of shape \(..., K\)'),
    (lambda: SmoothedFocalLoss()(SIGMOID, torch.tensor([0, 4]), reduction_override='max'),
     "reduction_override must be None, 'none', 'mean' or 'sum', got 'max'"),
])
def test_what_cannot_be_smoothed_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize('kind', [SmoothedCrossEntropyLoss, SmoothedFocalLoss])
def test_a_single_class_is_learned_as_without_smoothing(kind):
    pred, target = torch.tensor([[0.3], [-0.7]], dtype=torch.float64), torch.tensor([0, 1])
    parent = kind.__mro__[1](use_sigmoid=True)
    assert kind(use_sigmoid=True, eps=0.3)(pred, target) == pytest.approx(
        float(parent(pred, target)), abs=1e-6)
