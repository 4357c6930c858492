"""The hook that holds the teacher and adds the loss of distillation to the student's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import IterBasedTrainLoop
from torch import nn

from ...common.phases import Phases, check_end, phases
from ...common.wrapped import Wrapped
from ...evidence import Distillation
from ...plan import TrickError
from .adapters import Adapters
from .functional import logit_distillation_loss, pearson_distillation_loss
from .inputs import TeacherInputs
from .survey import as_levels
from .teacher import build, fit, read_config, read_weights

__all__ = ['DistillationHook']

_STATE = 'distillation'  # the key of a checkpoint, beside state_dict


@HOOKS.register_module()
class DistillationHook(Hook):
    """Lets the student learn from a trained teacher beside its labels.

    The teacher sees the batch that the student sees, in evaluation mode, without gradients and in
    the run's autocast. It is no part of the student: not in its ``state_dict``, its average or its
    distributed wrapper. The student's neck (or head) and its ``loss`` are watched as this model's
    own, and given back after the training; no class is changed.

    Args:
        teacher: Its config, a file or ``package::path`` of a zoo.
        checkpoint: Its weights, a file or URL.
        scores: Whether the class scores of a classifier are compared, or else the levels of a
            detector's neck.
        weight: Factor on the loss of each level.
        temperature: Of class scores.
        off_fraction: Part of the training, in [0, 1), that ends it without the teacher; rounded
            half up, at least one epoch (or iteration) and never all. 0 never switches off.
        off_epochs: The same in epochs; overrides ``off_fraction``.

    Attributes:
        distillation: What the measurement sees; None outside a training.

    Raises:
        ValueError: If an argument is out of its bounds.
    """

    priority = 'NORMAL'

    def __init__(
        self, teacher: str, checkpoint: str, scores: bool = False, weight: float = 6.0,
        temperature: float = 20.0, off_fraction: float = 0.0, off_epochs: int | None = None,
    ) -> None:
        if not weight > 0 or not temperature > 0:
            raise ValueError(f'weight and temperature must be > 0, got {weight!r} and '
                             f'{temperature!r}')
        check_end(off_fraction, off_epochs)
        self.teacher = teacher
        self.checkpoint = checkpoint
        self.scores = scores
        self.weight = weight
        self.temperature = temperature
        self.off_fraction = off_fraction
        self.off_epochs = off_epochs
        self.distillation: Distillation | None = None
        self._on, self._watching = True, False
        self._times = Phases()
        self._caught: list[Any] = []
        self._remove: list[Callable[[], None]] = []
        self._adapters: Adapters | None = None
        self._former: dict[str, Any] | None = None

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Keeps the adapters of the run that is resumed."""
        if getattr(runner, '_resume', False):
            self._former = checkpoint.get(_STATE)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        """Saves the adapters beside the student, which a resumed run needs."""
        state = None if self._adapters is None else self._adapters.state()
        if state is not None:
            checkpoint[_STATE] = state

    def before_train(self, runner: Any) -> None:
        """Builds the teacher and watches the student.

        Raises:
            TrickError: If the teacher cannot be built or loaded, or does not fit the student.
        """
        self._detach()
        student = _plain(runner.model)
        cfg = read_config(self.teacher)
        teacher = build(cfg, self.teacher)
        fit(teacher, read_weights(self.checkpoint), self.checkpoint)
        device = next(student.parameters()).device
        teacher = teacher.to(device).eval().requires_grad_(False)
        self._times = self._clock(runner)
        self._adapters = Adapters(runner.optim_wrapper, self._former)
        self.distillation = Distillation(teacher, {})
        self._attach(student, teacher)
        runner.logger.info(
            f'DistillationHook: {type(teacher).__name__} of {self.teacher} teaches '
            f'{type(student).__name__} by its {"class scores" if self.scores else "neck"}; '
            f'{self._times}')

    def _clock(self, runner: Any) -> Phases:
        by_epoch = not isinstance(runner.train_loop, IterBasedTrainLoop)
        return phases(by_epoch, runner.max_epochs if by_epoch else runner.max_iters,
                      self.off_fraction, self.off_epochs,
                      epoch_length=1 if by_epoch else len(runner.train_dataloader))

    def _attach(self, student: Any, teacher: Any) -> None:
        """Watches what the student's neck or head returns, and wraps its ``loss``.

        By functions and not by bound methods: a copy of the student copies no teacher with it.
        """
        part, caught = self._part(student), self._caught
        inputs = TeacherInputs(student.data_preprocessor, teacher.data_preprocessor,
                               padded=not self.scores)

        def catch(module: nn.Module, args: Any, output: Any) -> None:
            if self._watching:  # and not in a validation
                caught.append(output)

        def around(call: Any, images: Any, samples: Any = None, *args: Any, **kwargs: Any) -> Any:
            if not self._on:
                return call(images, samples, *args, **kwargs)
            caught.clear()
            self._watching = True
            try:
                losses = call(images, samples, *args, **kwargs)
            finally:
                self._watching = False
            with torch.no_grad():
                wanted = self._ask(teacher, inputs(images, samples))
            losses = {**losses, **self._losses(self._only(part), wanted)}
            if self.distillation is not None:
                self.distillation.whole = _sum(losses)
            return losses

        self._remove.append(part.register_forward_hook(catch).remove)
        self._remove.append(Wrapped(student, 'loss', around).remove)

    def _part(self, student: nn.Module) -> nn.Module:
        """The student's module whose outputs are compared."""
        names = ('head', 'model') if self.scores else ('neck',)
        found = next((getattr(student, name) for name in names
                      if isinstance(getattr(student, name, None), nn.Module)), None)
        if found is None:
            raise TrickError(f'tricks.distill needs a model with a {names[0]}, got '
                             f'{type(student).__name__}')
        return found

    def _ask(self, teacher: Any, images: torch.Tensor) -> list[torch.Tensor]:
        """What the teacher says of a batch."""
        if self.scores:
            return as_levels(teacher(images, mode='tensor'))
        return as_levels(teacher.neck(teacher.backbone(images)))

    def _only(self, part: nn.Module) -> list[torch.Tensor]:
        """What the student's module returned in this step."""
        if len(self._caught) != 1:
            raise TrickError(f'tricks.distill needs {type(part).__name__} to run once in a '
                             f'training step, got {len(self._caught)} times')
        return as_levels(self._caught.pop())

    def _losses(self, levels: list[torch.Tensor], wanted: list[torch.Tensor],
                ) -> dict[str, torch.Tensor]:
        """The weighted loss of each level, by the name that the log shows."""
        if len(levels) != len(wanted) or not levels:
            raise TrickError(f'tricks.distill.teacher must have the {len(levels)} levels of the '
                             f'student, got {len(wanted)}')
        losses = {}
        for index, (mine, theirs) in enumerate(zip(levels, wanted, strict=True)):
            name = 'loss_distill' if self.scores else f'loss_distill_{index}'
            branch = self._watched(name, mine)
            losses[name] = self.weight * self._compare(index, branch, theirs)
        if self._adapters is not None:
            self._adapters.begin()
        return losses

    def _compare(self, level: int, mine: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
        if self.scores:
            if mine.shape != theirs.shape or mine.dim() != 2:
                raise TrickError('tricks.distill.teacher must have the classes of the student, got '
                                 f'{tuple(theirs.shape)} scores for {tuple(mine.shape)}')
            return logit_distillation_loss(mine, theirs, self.temperature)
        if mine.shape[2:] != theirs.shape[2:]:
            raise TrickError(
                'tricks.distill.teacher must have the strides of the student, got a map of '
                f'{tuple(theirs.shape[2:])} for {tuple(mine.shape[2:])} in level {level}')
        assert self._adapters is not None
        return pearson_distillation_loss(self._adapters(level, mine, theirs.shape[1]), theirs)

    def _watched(self, name: str, value: torch.Tensor) -> torch.Tensor:
        """A branch of the student's output, whose gradient is that of the distillation alone."""
        if not value.requires_grad or self.distillation is None:
            return value
        branch, largest = value.view_as(value), self.distillation.gradients

        def look(grad: torch.Tensor) -> None:
            now = grad.detach().abs().amax().float()
            largest[name] = torch.maximum(largest[name], now) if name in largest else now
        branch.register_hook(look)
        return branch

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Sets whether the teacher is asked in this iteration."""
        times = self._times
        on = times.on(runner.epoch if times.by_epoch else runner.iter)
        if self._on and not on:
            runner.logger.info(f'Distillation is {times}')
        self._on = on

    def after_train(self, runner: Any) -> None:
        """Gives the student its method back; the teacher stays for the last measurement."""
        self._detach()

    def _detach(self) -> None:
        for remove in reversed(self._remove):
            remove()
        self._remove = []
        self._caught.clear()
        if self._adapters is not None:
            self._adapters.remove()


def _sum(losses: dict[str, Any]) -> torch.Tensor:
    """What a step minimises, as mmengine's ``parse_losses`` adds it up.

    What that returns as ``loss`` is a head's own loss where the head has given it that name.
    """
    parts = [part for name, value in losses.items() if 'loss' in name
             for part in (value if isinstance(value, (list, tuple)) else [value])]
    return torch.stack([part.detach().float().mean() for part in parts]).sum()


def _plain(model: Any) -> Any:
    """The model inside the wrappers of distribution and compilation."""
    while isinstance(getattr(model, 'module', None), nn.Module):
        model = model.module
    return getattr(model, '_orig_mod', model)
