"""What a timm training consists of, once it is built."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..common.finite import NonFinite

if TYPE_CHECKING:
    from .resume import Resumed

__all__ = ['Run']


@dataclasses.dataclass
class Run:
    """The parts of one training, on one process.

    Attributes:
        args: The settings by timm's names, after the tricks and complete: ``lr`` is resolved, and
            ``rank``, ``world_size``, ``local_rank`` and ``distributed`` are set. Nothing changes
            them.
        device: Where the model lives.
        task: timm's classification task: model, criterion and, with ``model_ema``, the average.
        model: The plain model, without wrappers.
        optimizer: timm's optimizer.
        scheduler: timm's scheduler; None for ``sched`` none.
        loader_train: timm's loader, with a length in batches.
        loader_eval: The same for the validation images; None without a validation split.
        mixup: What mixes, a `mixing.SwitchableCollateMixup` (in the loader) or `SwitchableMixup`
            (on the device); None without mixup and cutmix.
        loss_scaler: timm's scaler for float16 on GPUs, or None.
        autocast: Gives the context of a forward pass.
        model_dtype: The dtype of weights and inputs.
        updates_per_epoch: Optimizer steps in an epoch.
        num_epochs: Epochs in all, warm-up prefix and cool-down included.
        start_epoch: The first epoch to train, counted from 0.
        reference_batch: The mean batch of a process in images, for scheduled sizes.
        data_config: timm's input size, mean, std and interpolation.
        resumed: What was taken from a checkpoint and what was changed; None for a new training.
        watch: Counts updates in a row whose loss is not finite.
        output_dir: Where the results go; None on processes that write none.
        saver: timm's checkpoint saver; None on processes that write none.
    """

    args: argparse.Namespace
    device: torch.device
    task: Any
    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: Any
    loader_train: Any
    loader_eval: Any
    mixup: Any
    loss_scaler: Any
    autocast: Callable[[], AbstractContextManager[Any]]
    model_dtype: torch.dtype
    updates_per_epoch: int
    num_epochs: int
    start_epoch: int
    reference_batch: float
    data_config: dict[str, Any]
    resumed: Resumed | None = None
    watch: NonFinite = dataclasses.field(default_factory=NonFinite)
    output_dir: Path | None = None
    saver: Any = None

    @property
    def primary(self) -> bool:
        """Whether this process logs and writes."""
        return bool(self.args.rank == 0)

    @property
    def rank(self) -> int:
        """The process's number among all, from 0."""
        return int(self.args.rank)

    @property
    def world_size(self) -> int:
        """The number of processes."""
        return int(self.args.world_size)

    @property
    def criterion(self) -> Callable[..., torch.Tensor]:
        """The loss as a function of logits and targets."""
        criterion: Callable[..., torch.Tensor] = self.task.criterion
        return criterion

    @property
    def dtype_name(self) -> str:
        """The precision of a forward pass, in words."""
        if self.args.amp:
            return f'amp {self.args.amp_dtype}'
        return str(self.model_dtype).removeprefix('torch.')
