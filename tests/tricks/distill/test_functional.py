"""The losses against numbers worked by hand, and against a second derivation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tricks_plugin.tricks.distill.functional import (
    logit_distillation_loss,
    pearson_distillation_loss,
)


def maps(*channels):
    """One image whose channels have these pixels in a row."""
    return torch.tensor(channels).view(1, len(channels), 1, -1)


@pytest.mark.parametrize(('student', 'teacher', 'expected'), [
    # Two pixels become -1 and 1, whatever they are: the same order costs 0, the other one 2.
    (maps([1.0, 3.0]), maps([5.0, 9.0]), 0.0),
    (maps([1.0, 3.0]), maps([9.0, 5.0]), 2.0),
    # 0, 0, 3 is -1, -1, 2 over sqrt(2); 0, 3, 0 likewise: r = (1 - 2 - 2) / 6 = -1/2.
    (maps([0.0, 0.0, 3.0]), maps([0.0, 3.0, 0.0]), 1.5),
    # The mean over two channels.
    (maps([1.0, 3.0], [2.0, 7.0]), maps([1.0, 3.0], [7.0, 2.0]), 1.0),
    # A constant channel stays 0, and the other's half square is 1/2.
    (maps([4.0, 4.0]), maps([1.0, 3.0]), 0.5),
])
def test_pearson_by_hand(student, teacher, expected):
    assert float(pearson_distillation_loss(student, teacher)) == pytest.approx(expected, abs=1e-5)


def test_pearson_is_one_minus_numpys_correlation_over_batch_and_space():
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(3, 20, (3, 5, 4, 6)), rng.normal(-1, 0.1, (3, 5, 4, 6))
    teacher += 0.004 * student
    rows = [1 - np.corrcoef(student[:, c].ravel(), teacher[:, c].ravel())[0, 1] for c in range(5)]
    loss = pearson_distillation_loss(torch.tensor(student), torch.tensor(teacher))
    assert float(loss) == pytest.approx(np.mean(rows), abs=2e-5)


def test_gradients_flow_into_the_student_alone_and_stay_finite_where_a_channel_is_constant():
    student = torch.tensor([[[[1.0, 2.0, 4.0]], [[3.0, 3.0, 3.0]]]], requires_grad=True)
    teacher = torch.tensor([[[[4.0, 2.0, 1.0]], [[1.0, 2.0, 3.0]]]], requires_grad=True)
    pearson_distillation_loss(student, teacher).backward()
    assert teacher.grad is None
    assert torch.isfinite(student.grad).all() and student.grad[0, 0].abs().sum() > 0
    logits, wanted = torch.zeros(1, 2, requires_grad=True), torch.ones(1, 2, requires_grad=True)
    logit_distillation_loss(logits, wanted).backward()
    assert wanted.grad is None


def test_class_scores_by_hand():
    # At T = 2 the student says 1/4 and 3/4, the teacher 1/2 and 1/2:
    # KL = ln(4/3) / 2, times 4; its gradient is T (student - teacher).
    logits = torch.tensor([[0.0, 2 * math.log(3)]], requires_grad=True)
    loss = logit_distillation_loss(logits, torch.tensor([[7.0, 7.0]]), temperature=2.0)
    loss.backward()
    assert loss.item() == pytest.approx(2 * math.log(4 / 3), abs=1e-6)
    torch.testing.assert_close(logits.grad, torch.tensor([[-0.5, 0.5]]))


def test_class_scores_are_bots_cross_entropy_without_the_teachers_entropy():
    generator = torch.Generator().manual_seed(0)
    ours, bot = (torch.randn(4, 5, generator=generator).requires_grad_() for _ in range(2))
    bot = ours.detach().clone().requires_grad_()
    teacher = torch.randn(4, 5, generator=generator)
    logit_distillation_loss(ours, teacher, 20.0).backward()
    shares = torch.softmax(teacher / 20, 1)
    (400 * -(shares * torch.log_softmax(bot / 20, 1)).sum(1).mean()).backward()
    torch.testing.assert_close(ours.grad, bot.grad, rtol=1e-3, atol=1e-5)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r'one shape \(N, C, H, W\), got \(1, 1, 1, 2\) and'):
        pearson_distillation_loss(maps([1.0, 2.0]), maps([1.0, 2.0, 3.0]))
    with pytest.raises(ValueError, match=r'one shape \(N, K\), got \(1, 2\) and \(1, 3\)'):
        logit_distillation_loss(torch.zeros(1, 2), torch.zeros(1, 3))
    with pytest.raises(ValueError, match='temperature must be > 0, got 0'):
        logit_distillation_loss(torch.zeros(1, 2), torch.zeros(1, 2), 0)
