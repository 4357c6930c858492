"""A timm training, as the measurements see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn
from typing_extensions import override

from ..evidence import Average, Curve, Distillation, Training
from .run import Run
from .schedule import curve

__all__ = ['TimmTraining']


class TimmTraining(Training):
    """The view of a `Run`.

    Args:
        run: The training.

    Attributes:
        observers: What else follows the training, for `component`.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.observers: list[Any] = []
        self.updates = self.attempts = 0
        self.outputs: Any = None
        self._batch: tuple[Any, Any] | None = None
        self._epoch = run.start_epoch
        self._iteration = self._begun_at = run.start_epoch * self.epoch_length
        self._fresh = True
        self._handle: Any = None
        self._stepped = self._hooked = False
        self._teaching: Any = None
        self._distilled: dict[str, torch.Tensor] = {}
        teacher = getattr(run.task, 'teacher', None)
        self._distillation = None if teacher is None else Distillation(teacher, {})

    def watch(self) -> None:
        """Counts the optimizer's steps from now on."""
        # Lookahead calls no hooks; the optimizer inside it does.
        inner = getattr(self.run.optimizer, '_base_optimizer', self.run.optimizer)
        self._handle = inner.register_step_post_hook(self._count)
        if self._distillation is not None:
            self._teaching = self.run.task.register_forward_hook(self._teach)

    def _count(self, *args: Any) -> None:
        self._stepped = self._hooked = True

    def _teach(self, task: nn.Module, args: Any, result: Mapping[str, torch.Tensor]) -> None:
        """Keeps the loss of distillation, and the gradient that it sends back."""
        loss, name = result['kd_loss'], 'loss_distill'
        self._distilled = {name: task.distill_loss_weight * loss.detach()}  # type: ignore[operator]
        assert self._distillation is not None
        self._distillation.whole = result['loss'].detach()
        largest = self._distillation.gradients
        if loss.requires_grad:
            loss.register_hook(lambda grad: largest.update({
                name: torch.maximum(largest.get(name, grad.new_zeros(())), grad.detach().abs())}))

    def begin(self, epoch: int, images: torch.Tensor, targets: torch.Tensor) -> None:
        """Takes the batch of the coming iteration.

        Args:
            epoch: Counted from 0.
            images: Shape (B, C, H, W).
            targets: Shape (B,) or (B, K).
        """
        if epoch != self._epoch:
            self._epoch, self._iteration = epoch, epoch * self.epoch_length
        elif not self._fresh:
            self._iteration += 1
        self._fresh = False
        self._batch, self.outputs, self._stepped = (images, targets), None, False
        self._distilled = {}

    def end(self, outputs: Any) -> None:
        """Takes what the iteration returned, and whether its update was made."""
        self.outputs = {**outputs, **self._distilled} if self._distilled else outputs
        self.updates += self._stepped
        self.attempts += self._stepped or self._due()

    def release(self) -> None:
        """Takes the counter off the optimizer, and lets the batch go."""
        for handle in (self._handle, self._teaching):
            if handle is not None:
                handle.remove()
        self._handle = self._teaching = self._batch = self.outputs = None

    @property
    @override
    def model(self) -> nn.Module:
        return self.run.model

    @property
    @override
    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        return {'': self.run.optimizer}

    @property
    @override
    def accumulation(self) -> Mapping[str, int]:
        return {'': int(self.run.args.grad_accum_steps)}

    @property
    @override
    def average(self) -> Average | None:
        average = self.run.task.get_trainable_module(ema=True)
        if average is None:
            return None
        average = getattr(average, '_orig_mod', average)
        index = self._iteration - self._epoch * self.epoch_length
        made = self._epoch * self.run.updates_per_epoch + index // self._accumulated + 1
        return Average(
            average.module, self.run.model, 1.0 - average.get_decay(made), self._due(),
            self.max_epochs * self.run.updates_per_epoch,
            not getattr(average, 'exclude_buffers', False))

    @property
    def _accumulated(self) -> int:
        return max(1, int(self.run.args.grad_accum_steps))

    def _due(self) -> bool:
        """Whether the iteration at hand completes an accumulation; the last of an epoch does."""
        done = self._iteration - self._epoch * self.epoch_length + 1
        return done % self._accumulated == 0 or done == self.epoch_length

    @property
    @override
    def compiled(self) -> bool:
        return bool(self.run.args.torchcompile or self.run.args.torchscript)

    @property
    @override
    def loaded(self) -> str:
        flags = ('resume', 'initial_checkpoint', 'pretrained_path', 'pretrained')
        found = next((flag for flag in flags if getattr(self.run.args, flag, None)), '')
        return found or ('resume' if self.run.start_epoch else '')

    @override
    def forward_context(self) -> AbstractContextManager[Any]:
        return self.run.autocast()

    @property
    @override
    def distillation(self) -> Distillation | None:
        return self._distillation

    @property
    @override
    def loss_scales(self) -> list[float]:
        scaler = self.run.loss_scaler
        return [] if scaler is None else [float(scaler.state_dict().get('scale', 1.0))]

    @property
    @override
    def criterion(self) -> Callable[..., torch.Tensor] | None:
        return self.run.task.criterion

    @property
    @override
    def loaders(self) -> Mapping[str, Any]:
        found = {'train': self.run.loader_train, 'val': getattr(self.run, 'loader_eval', None)}
        return {name: getattr(loader, 'loader', loader) for name, loader in found.items()
                if loader is not None}

    @override
    def component(self, kind: type) -> Any:
        run = self.run
        return next((part for part in (
            run.mixup, run.scheduler, run.task, run.watch, *self.observers)
            if isinstance(part, kind)), None)

    @property
    @override
    def schedule(self) -> Mapping[str, Curve]:
        return {'': curve(self.run.args, self.run.updates_per_epoch)}

    @property
    @override
    def asked_lr(self) -> Mapping[str, float]:
        return {'': float(self.run.args.lr_base)}

    @property
    @override
    def lr_batch_size(self) -> int | None:
        return int(self.run.args.lr_base_size)

    @property
    @override
    def iteration(self) -> int:
        return self._iteration

    @property
    @override
    def epoch(self) -> int:
        return self._epoch

    @property
    @override
    def begun_at(self) -> int:
        return self._begun_at

    @property
    @override
    def by_epoch(self) -> bool:
        return True

    @property
    @override
    def max_iterations(self) -> int:
        return self.max_epochs * self.epoch_length

    @property
    @override
    def max_epochs(self) -> int:
        return int(self.run.num_epochs)

    @property
    @override
    def epoch_length(self) -> int:
        loader = self.run.loader_train
        if loader is not None:
            return len(loader)
        return int(self.run.updates_per_epoch * self.run.args.grad_accum_steps)

    @property
    @override
    def world_size(self) -> int:
        return int(self.run.args.world_size)

    @property
    @override
    def device(self) -> torch.device:
        return self.run.device

    @property
    @override
    def batch(self) -> Any:
        return self._batch

    @property
    @override
    def samples(self) -> int:
        if self._batch is None:
            return 0
        # Views of one image by augmentation splits count once.
        return len(self._batch[0]) // max(1, self.run.args.aug_splits)

    @property
    @override
    def images(self) -> Any:
        return None if self._batch is None else self._batch[0]

    @property
    @override
    def targets(self) -> Any:
        return None if self._batch is None else self._batch[1]
