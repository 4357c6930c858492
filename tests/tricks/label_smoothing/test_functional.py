"""Variants, conversions and the pure softmax loss, against numbers worked by hand."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from tricks_plugin.tricks.label_smoothing.functional import (
    VARIANTS,
    convert_eps,
    smooth_one_hot,
    smoothed_cross_entropy,
    smoothed_softmax_cross_entropy,
    soft_cross_entropy,
    targets,
)

LOGITS = [2.0, 1.0, 0.0, -1.0]  # log of the sum of their exponentials: 2.44018970


@pytest.mark.parametrize(('variant', 'pos', 'neg'), [
    ('he', 0.9, 0.025),
    ('szegedy', 0.92, 0.02),
    ('binary', 0.95, 0.05),
    ('multi_label', 0.9, 0.1),
    ('classy_vision', 1.02 / 1.1, 0.02 / 1.1),
    ('gluoncv', 0.975, 0.025),
])
def test_each_variant_gives_its_two_targets_for_five_classes(variant, pos, neg):
    assert targets(variant, 0.1, 5) == pytest.approx((pos, neg), abs=1e-15)


def test_gluoncv_narrows_only_beyond_forty_classes():
    assert targets('gluoncv', 0.3, 20) == (0.975, 0.025)
    assert targets('gluoncv', 0.3, 80) == (0.9875, 0.0125)


def test_the_variants_said_to_sum_to_one_do():
    for name, variant in VARIANTS.items():
        pos, neg = targets(name, 0.3, 7)
        assert math.isclose(pos + 6 * neg, 1, abs_tol=1e-12) is variant.sums_to_one, name


@pytest.mark.parametrize(('eps', 'classes', 'source', 'target', 'expected'), [
    (0.1, 5, 'he', 'szegedy', 0.125),
    (0.1, 20, 'szegedy', 'he', 0.095),
    (0.25, 9, 'classy_vision', 'szegedy', 0.2),
    (0.2, 9, 'szegedy', 'classy_vision', 0.25),
    (0.06, 13, 'binary', 'multi_label', 0.03),
    (0.3, 2, 'he', 'binary', 0.6),
    (0.7, 80, 'gluoncv', 'multi_label', 0.0125),
    (0.5, 4, 'binary', 'multi_label', 0.25),
])
def test_eps_converts_exactly(eps, classes, source, target, expected):
    converted = convert_eps(eps, classes, source, target)
    assert converted == pytest.approx(expected, abs=1e-12)
    assert targets(target, converted, classes) == pytest.approx(
        targets(source, eps, classes), abs=1e-12)


def test_a_conversion_to_the_same_variant_keeps_every_bit():
    assert convert_eps(0.1, 3, 'szegedy', 'szegedy') == 0.1


def test_a_conversion_that_cannot_be_exact_says_why():
    with pytest.raises(ValueError, match=r"no eps of 'szegedy' gives the targets of 'binary' "
                                         r'\(true 0.95, others 0.05, K=8\): with others 0.05 its '
                                         r'true target is 0.65'):
        convert_eps(0.1, 8, 'binary', 'szegedy')
    with pytest.raises(ValueError, match="'szegedy' would need eps >= 1"):
        convert_eps(0.9, 4, 'he', 'szegedy')
    with pytest.raises(ValueError, match="no eps of 'gluoncv'"):
        convert_eps(0.1, 80, 'he', 'gluoncv')


@pytest.mark.parametrize(('args', 'message'), [
    (('he', 0.1, 1), 'num_classes must be at least 2 to be smoothed, got 1'),
    (('he', 1.0, 4), 'eps must be at least 0 and below 1, got 1.0'),
    (('he', -0.2, 4), 'eps must be at least 0 and below 1, got -0.2'),
    (('mean', 0.1, 4), r"variant must be one of \['binary', .*\], got 'mean'"),
])
def test_wrong_arguments_are_named_with_rule_and_value(args, message):
    with pytest.raises(ValueError, match=message):
        targets(*args)


def test_only_rows_that_hold_an_object_are_smoothed():
    rows = torch.tensor([[0, 1, 0, 0], [0, 0, 0, 0], [0.3, 0, 0.7, 0]])
    soft = smooth_one_hot(rows, 0.2, 'szegedy')  # true 0.85, others 0.05
    expected = torch.tensor([[0.05, 0.85, 0.05, 0.05], [0, 0, 0, 0], [0.29, 0.05, 0.61, 0.05]])
    torch.testing.assert_close(soft, expected, atol=1e-7, rtol=0)
    assert smooth_one_hot(rows.half(), 0.2, 'he').dtype == torch.float32


def test_the_softmax_loss_is_the_sum_worked_by_hand():
    logits = torch.tensor([LOGITS, LOGITS, LOGITS]).double()
    loss = smoothed_softmax_cross_entropy(logits, torch.tensor([0, 2, -7]), 0.1, 'he',
                                          ignore_index=-7)
    # log Z - 0.9 * 2 - (0.1 / 3) * (1 + 0 - 1), and log Z - 0.9 * 0 - (0.1 / 3) * (2 + 1 - 1)
    assert loss.tolist() == pytest.approx([0.6401896986, 2.3735230319, 0], abs=1e-7)


def test_class_weights_weight_every_class_s_term():
    loss = smoothed_softmax_cross_entropy(
        torch.tensor([LOGITS]).double(), torch.tensor([1]), 0.1, 'he', class_weight=[1, 2, 3, 0.5])
    # 1 * 0.0333 * 0.4402 + 2 * 0.9 * 1.4402 + 3 * 0.0333 * 2.4402 + 0.5 * 0.0333 * 3.4402
    assert loss.item() == pytest.approx(2.9083699, abs=1e-6)


def test_szegedy_agrees_with_torch_s_own_label_smoothing():
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(11, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(0, 6, (11,), generator=generator)
    labels[4] = 255
    ours = smoothed_softmax_cross_entropy(logits, labels, 0.17, 'szegedy', ignore_index=255)
    theirs = F.cross_entropy(logits, labels, label_smoothing=0.17, ignore_index=255,
                             reduction='none')
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.autograd.grad(ours.sum(), logits)[0],
                               torch.autograd.grad(theirs.sum(), logits)[0], atol=1e-6, rtol=0)


def test_the_gradient_vanishes_at_the_smoothed_target():
    soft = torch.tensor([0.9, 0.1 / 3, 0.1 / 3, 0.1 / 3])
    logits = soft.log().unsqueeze(0).requires_grad_()
    smoothed_softmax_cross_entropy(logits, torch.tensor([0]), 0.1, 'he').backward()
    torch.testing.assert_close(logits.grad, torch.zeros(1, 4), atol=1e-6, rtol=0)


def test_a_softmax_refuses_targets_that_do_not_sum_to_one_and_labels_out_of_range():
    logits = torch.tensor([LOGITS]).double()
    with pytest.raises(ValueError, match="targets that sum to 1 for a softmax, got 'binary'"):
        smoothed_softmax_cross_entropy(logits, torch.tensor([1]), 0.1, 'binary')
    with pytest.raises(RuntimeError, match='Class values must be smaller'):
        smoothed_softmax_cross_entropy(logits, torch.tensor([4]), 0.1, 'he')


@pytest.mark.slow
def test_the_pure_functions_import_without_any_mm_package():
    code = ("import sys; import tricks_plugin.tricks.label_smoothing.functional; "
            "sys.exit(any(name.split('.')[0] in ('mmengine', 'mmcv', 'mmdet') "
            "for name in sys.modules))")
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0


# Four classes, 'he' with eps 0.1: losses of label 0 and of label 2, as worked out above.
ZERO, TWO = 0.6401896986, 2.3735230319


@pytest.mark.parametrize(('reduction', 'expected'), [
    ('none', [ZERO, TWO, 0.0]), ('sum', ZERO + TWO), ('mean', (ZERO + TWO) / 2)])
def test_integer_and_soft_labels_give_the_same_loss_by_every_reduction(reduction, expected):
    logits = torch.tensor([LOGITS] * 3, dtype=torch.float64)
    labels = torch.tensor([0, 2, -100])
    soft = torch.tensor([[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0.0]])
    for given in (labels, soft):
        loss = smoothed_cross_entropy(logits, given, 0.1, reduction=reduction)
        assert loss.tolist() == pytest.approx(expected, abs=1e-6)
        hard = soft_cross_entropy(logits, given, reduction=reduction)
        plain = smoothed_cross_entropy(logits, given, 0.0, reduction=reduction)
        torch.testing.assert_close(hard, plain, atol=1e-6, rtol=0)


def test_mixed_labels_are_smoothed_in_proportion():
    # 0.7 of label 0 and 0.3 of label 2 cost 0.7 and 0.3 of their losses
    loss = smoothed_cross_entropy(torch.tensor([LOGITS]).double(), torch.tensor([[0.7, 0, 0.3, 0]]))
    assert loss.item() == pytest.approx(0.7 * ZERO + 0.3 * TWO, abs=1e-6)


@pytest.mark.parametrize('weight', [None, [0.5, 1.0, 2.0, 3.0, 0.25, 1.5]])
@pytest.mark.parametrize('reduction', ['mean', 'sum'])
def test_the_reductions_are_torchs(weight, reduction):
    generator = torch.Generator().manual_seed(8)
    logits = torch.randn(9, 6, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 6, (9,), generator=generator)
    labels[3] = -100
    theirs = F.cross_entropy(logits, labels, label_smoothing=0.2, reduction=reduction,
                             weight=None if weight is None else torch.tensor(weight).double())
    ours = smoothed_cross_entropy(logits, labels, 0.2, 'szegedy', reduction, weight)
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
    rows = torch.softmax(torch.randn(9, 6, generator=generator, dtype=torch.float64), 1)
    torch.testing.assert_close(soft_cross_entropy(logits, rows, weight, reduction),
                               F.cross_entropy(logits, rows, reduction=reduction, weight=None if
                                               weight is None else torch.tensor(weight).double()))


def test_rows_of_no_label_alone_cost_nothing():
    logits = torch.zeros(2, 3, requires_grad=True)
    loss = smoothed_cross_entropy(logits, torch.tensor([-100, -100]))
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()


def test_a_masked_class_costs_nothing_without_smoothing():
    """Two classes of equal logits share the row: -log(1/2), as torch has it."""
    logits = torch.tensor([[0.0, 0.0, -math.inf]], requires_grad=True)
    loss = smoothed_cross_entropy(logits, torch.tensor([1]), eps=0)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2), abs=1e-6)
    assert logits.grad.tolist() == [[pytest.approx(0.5), pytest.approx(-0.5), 0.0]]
    assert smoothed_cross_entropy(logits, torch.tensor([1]), eps=0.1).item() == math.inf


def test_labels_that_do_not_fit_and_unknown_reductions_are_refused():
    logits = torch.zeros(2, 3)
    for labels in (torch.zeros(2, 4), torch.tensor([0.0, 1.0]), torch.tensor([0, 1, 2])):
        with pytest.raises(ValueError, match=r'labels must be integers of shape \(2,\) or soft'):
            smoothed_cross_entropy(logits, labels)
    with pytest.raises(ValueError, match=r"one of \['none', 'mean', 'sum'\], got 'avg'"):
        smoothed_cross_entropy(logits, torch.tensor([0, 1]), reduction='avg')


def test_one_default_variant_and_a_warning_where_it_was_another():
    one_hot = torch.tensor([[1.0, 0, 0, 0]])
    with pytest.warns(DeprecationWarning, match="is 'he' now"):
        rows = smooth_one_hot(one_hot, 0.3)
    assert rows.tolist() == [pytest.approx([0.7, 0.1, 0.1, 0.1])]
    with pytest.warns(DeprecationWarning, match="the next release's default is 'mean'"):
        loss = soft_cross_entropy(torch.tensor([LOGITS]).double(), rows)
    assert loss.shape == (1,)
    same = smoothed_cross_entropy(torch.tensor([LOGITS]).double(), torch.tensor([0]), 0.3)
    assert loss.item() == pytest.approx(same.item(), abs=1e-6)
