"""Measures that a teacher teaches in the running training, and that it does not move."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import nn

from ...common.phases import Phases, phases
from ...evidence import Evidence, Finding, Training

__all__ = ['DistillEvidence', 'held_tensors']

_BEGINS = 'loss_distill'
_CONSTANT = 3  # iterations after which a loss must have changed


@dataclasses.dataclass
class _Loss:
    """A loss over the iterations; scalars that stay on the device.

    Attributes:
        total: The sum.
        low: The smallest.
        high: The largest.
        seen: The iterations.
    """

    total: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor
    seen: int = 1

    def add(self, value: torch.Tensor) -> None:
        self.total = self.total + value
        self.low, self.high = torch.minimum(self.low, value), torch.maximum(self.high, value)
        self.seen += 1


class DistillEvidence(Evidence):
    """Follows the losses of distillation among those that the training step returns.

    Before the switch each must be there in every iteration, must not be 0 or the same all along,
    and must send the student a gradient; after it none may be there. The teacher's parameters and
    buffers must have the bits that they had at the start, and it must be in evaluation mode.

    Args:
        off_fraction: Last part of the training without the teacher, as planned.
        off_epochs: The same in epochs, or None.
    """

    def __init__(self, off_fraction: float = 0.0, off_epochs: int | None = None) -> None:
        self.off_fraction = off_fraction
        self.off_epochs = off_epochs
        self._times = Phases()
        self._digest: dict[str, tuple[int, int]] = {}
        self._losses: dict[str, _Loss] = {}
        self._whole: torch.Tensor | None = None
        self._taught = self._missed = self._late = self._after = 0
        self._told = False

    def start(self, training: Training) -> None:
        """Takes the teacher's digest, and the moment of the switch."""
        by_epoch = training.by_epoch
        self._times = phases(
            by_epoch, training.max_epochs if by_epoch else training.max_iterations,
            self.off_fraction, self.off_epochs,
            epoch_length=1 if by_epoch else training.epoch_length)
        if training.distillation is not None:
            self._digest = held_tensors(training.distillation.teacher)

    def after_iteration(self, training: Training) -> None:
        """Adds up the losses of one iteration."""
        outputs = training.outputs if isinstance(training.outputs, dict) else {}
        found = {name: value.detach().float() for name, value in outputs.items()
                 if str(name).startswith(_BEGINS) and isinstance(value, torch.Tensor)}
        if not self._times.on(training.epoch if training.by_epoch else training.iteration):
            self._after += 1
            self._late += bool(found)
            return
        self._taught += bool(found)
        self._missed += not found
        for name, value in found.items():
            if name in self._losses:
                self._losses[name].add(value)
            else:
                self._losses[name] = _Loss(value, value, value)
        held = training.distillation
        if found and held is not None and held.whole is not None:
            whole = held.whole.float()
            self._whole = whole if self._whole is None else self._whole + whole

    def switched(self, training: Training) -> bool:
        """Whether the first iteration without the teacher has just been measured."""
        told, self._told = self._told, self._after > 0
        return self._told and not told and self._taught > 0

    def finding(self, training: Training) -> Finding:
        """Each loss, their share of the whole, and what the teacher is now."""
        held, planned = training.distillation, f'a teacher, {self._times}'
        if held is None:
            return Finding(planned, False, 'no teacher is at work')
        means = {name: float(one.total) / one.seen for name, one in self._losses.items()}
        gradients = {name: float(value) for name, value in held.gradients.items()}
        values: dict[str, Any] = {
            'losses': means, 'gradients': gradients, 'iterations': self._taught,
            'without': self._missed, 'iterations_after': self._after,
            'losses_after': self._late}
        words = [f'{name} {value:.4g}' for name, value in means.items()]
        if self._whole is not None and float(self._whole):
            values['share'] = sum(float(one.total) for one in self._losses.values()) / \
                float(self._whole)
            words.append(f'{100 * values["share"]:.1f} % of the whole loss')
        wrong = [*self._teacher_faults(held.teacher), *self._loss_faults(gradients)]
        if not wrong and self._digest:
            words.append(f'the teacher has not moved ({len(self._digest)} tensors)')
        if self._after and not self._late:
            words.append(f'none in {self._after} iterations after the switch')
        live = False if wrong else True if self._taught else None
        return Finding(planned, live, '; '.join([*wrong, *words]) or 'nothing yet', values)

    def _teacher_faults(self, teacher: nn.Module) -> list[str]:
        now = held_tensors(teacher)
        moved = [name for name in now if now[name] != self._digest.get(name)]
        found = [f'the teacher has moved: {", ".join(moved[:3])}' + (
            f' and {len(moved) - 3} more' if len(moved) > 3 else '')] if moved else []
        if any(module.training for module in teacher.modules()):
            found.append('the teacher is not in evaluation mode')
        return found

    def _loss_faults(self, gradients: dict[str, float]) -> list[str]:
        """What is wrong with the losses, in words."""
        found = []
        if self._missed:
            found.append(f'{self._missed} iterations before the switch had no loss of distillation')
        if self._late:
            found.append(f'{self._late} iterations after the switch had one')
        zero = [name for name, one in self._losses.items() if not float(one.high)]
        same = [name for name, one in self._losses.items() if one.seen >= _CONSTANT
                and name not in zero and float(one.low) == float(one.high)]
        # NaN is no gradient of nothing: another guard looks for it.
        still = [name for name in self._losses if gradients.get(name, 0.0) == 0.0
                 and name not in zero]
        for names, what in ((zero, 'is 0'), (same, 'is the same in every iteration'),
                            (still, 'sends the student no gradient')):
            if names:
                found.append(f'{", ".join(names)} {what}')
        return found


def held_tensors(module: nn.Module) -> dict[str, tuple[int, int]]:
    """Sums of the bits, and of their squares, of every parameter and buffer, by name.

    Whole numbers, so that they are the same for the same bits on any device. Synchronises it.
    """
    named = [*module.named_parameters(), *module.named_buffers()]
    found = {}
    with torch.no_grad():
        for name, value in named:
            bits = _bits(value.detach())
            found[name] = torch.stack([bits.sum(), (bits * bits).sum()])
    if not found:
        return {}
    rows = torch.stack(list(found.values())).tolist()
    return {name: (row[0], row[1]) for name, row in zip(found, rows, strict=True)}


def _bits(value: torch.Tensor) -> torch.Tensor:
    kinds = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    value = value.contiguous()
    if value.dtype == torch.bool or value.is_complex():
        value = torch.view_as_real(value) if value.is_complex() else value.to(torch.uint8)
    return value.view(kinds[value.element_size()]).flatten().to(torch.int64)
