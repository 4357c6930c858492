"""The losses of distillation, of features and of class scores."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ['logit_distillation_loss', 'pearson_distillation_loss']

_EPS = 1e-6


def pearson_distillation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """One minus Pearson's correlation of two feature maps, averaged over the channels.

    Each channel is normalised to a mean of 0 and a variance of 1 over batch and space; half of
    the mean squared difference is then ``1 - r``. So neither scale nor offset of the teacher's
    features matters, and two channels that say the opposite cost 2.

    Args:
        student: Shape (N, C, H, W), floating point. Gradients flow into it.
        teacher: The same shape. None flow into it.

    Returns:
        A scalar in [0, 2], float32. A channel that is constant in one of the two costs 0.5.

    Raises:
        ValueError: If the shapes differ, or are not of four dimensions.

    Example:
        >>> student = torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 1, 2, 2)
        >>> pearson_distillation_loss(student, 10 * student - 7).item() < 1e-5
        True
        >>> round(pearson_distillation_loss(student, -student).item(), 4)
        2.0

    Source: PKD (arXiv 2207.02039) section 3.2. Its code divides by n - 1 in the variance, which
    makes the loss ``(n - 1) / n`` of this one.
    """
    if student.shape != teacher.shape or student.dim() != 4:
        raise ValueError('student and teacher must have one shape (N, C, H, W), got '
                         f'{tuple(student.shape)} and {tuple(teacher.shape)}')
    difference = _normalised(student) - _normalised(teacher.detach())
    return difference.square().mean() / 2


def _normalised(features: Tensor) -> Tensor:
    """Each channel with mean 0 and variance 1 over batch and space, in float32."""
    features = features.float()
    features = features - features.mean((0, 2, 3), keepdim=True)
    variance = features.square().mean((0, 2, 3), keepdim=True)
    # The square root has no gradient at 0; a constant channel stays 0.
    return features / (variance + _EPS ** 2).sqrt()


def logit_distillation_loss(
    logits: Tensor, teacher_logits: Tensor, temperature: float = 20.0,
) -> Tensor:
    """How far the student's class shares are from the teacher's, both softened.

    ``T² KL(softmax(teacher / T) || softmax(student / T))``, the mean over the rows. BoT writes the
    cross entropy in its place, which is larger by the teacher's entropy, a constant: the gradients
    are the same, and this one is 0 where both agree.

    Args:
        logits: Of the student, shape (N, K). Gradients flow into them.
        teacher_logits: The same shape. None flow into them.
        temperature: T; the larger, the softer. 1 compares the shares as they are.

    Returns:
        A scalar of 0 or more, float32.

    Raises:
        ValueError: If the shapes differ, or the temperature is not above 0.

    Example:
        >>> logits = torch.tensor([[2.0, 0.0]])
        >>> logit_distillation_loss(logits, logits + 3).item() < 1e-6
        True

    Source: BoT (arXiv 1812.01187) section 5.3, T = 20; Hinton et al. (arXiv 1503.02531) section 2.
    """
    if logits.shape != teacher_logits.shape or logits.dim() != 2:
        raise ValueError('logits and teacher_logits must have one shape (N, K), got '
                         f'{tuple(logits.shape)} and {tuple(teacher_logits.shape)}')
    if not temperature > 0:
        raise ValueError(f'temperature must be > 0, got {temperature!r}')
    student = torch.log_softmax(logits.float() / temperature, dim=-1)
    teacher = torch.log_softmax(teacher_logits.detach().float() / temperature, dim=-1)
    return F.kl_div(student, teacher, reduction='batchmean', log_target=True) * temperature ** 2
