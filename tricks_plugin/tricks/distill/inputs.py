"""The same images for the teacher, in the normalisation that it was trained with."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

__all__ = ['Normalisation', 'TeacherInputs']


class Normalisation:
    """How a data preprocessor makes a model's inputs of pixels.

    Args:
        preprocessor: One of mmengine's ImgDataPreprocessor kind, or mmpretrain's.
    """

    def __init__(self, preprocessor: nn.Module) -> None:
        mean, std = (getattr(preprocessor, name, None) for name in ('mean', 'std'))
        normal = isinstance(mean, torch.Tensor) and isinstance(std, torch.Tensor) and \
            getattr(preprocessor, '_enable_normalize', True)
        self.mean = mean.flatten().tolist() if normal else [0.0]  # type: ignore[union-attr]
        self.std = std.flatten().tolist() if normal else [1.0]  # type: ignore[union-attr]
        # mmengine knows what it does to the channels; mmpretrain what they become.
        self.flipped = bool(getattr(preprocessor, '_channel_conversion',
                                    getattr(preprocessor, 'to_rgb', False)))
        self.pad = getattr(preprocessor, 'pad_value', 0)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Normalisation) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


class TeacherInputs:
    """Turns the student's inputs into the teacher's.

    Where both preprocessors agree, the very same tensor. Else the pixels are taken back from the
    student's normalisation and put into the teacher's, channels swapped where one has them so,
    and what lies outside an image gets the teacher's padding.

    Args:
        student: The student's data preprocessor.
        teacher: The teacher's.
        padded: Whether images may end before their tensor does, where ``img_shape`` says so; a
            classifier's fill it, and their ``img_shape`` may be of an earlier step.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module, padded: bool = True) -> None:
        self.student, self.teacher = Normalisation(student), Normalisation(teacher)
        self.same = self.student == self.teacher
        self.padded = padded

    def __call__(self, inputs: torch.Tensor, samples: Any) -> torch.Tensor:
        """Makes the teacher's inputs.

        Args:
            inputs: The student's, shape (N, C, H, W). Not changed.
            samples: The data samples, whose ``img_shape`` (h, w) says where an image ends.
        """
        if self.same:
            return inputs
        mean, std = self._columns(self.student, inputs)
        pixels = inputs * std + mean
        if self.student.flipped != self.teacher.flipped:
            pixels = pixels.flip(1)
        mean, std = self._columns(self.teacher, inputs)
        found = (pixels - mean) / std
        if self.padded and isinstance(self.teacher.pad, (int, float)):
            for one, sample in zip(found, samples or (), strict=False):
                height, width = (getattr(sample, 'img_shape', None) or one.shape[1:])[:2]
                one[:, height:] = self.teacher.pad
                one[:, :, width:] = self.teacher.pad
        return found

    @staticmethod
    def _columns(rule: Normalisation, like: torch.Tensor) -> list[torch.Tensor]:
        return [torch.tensor(one, dtype=torch.float32, device=like.device).view(1, -1, 1, 1)
                for one in (rule.mean, rule.std)]
