"""What a timm training consists of, once it is built."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import nn

__all__ = ['Run']


@dataclasses.dataclass
class Run:
    """The parts of one training, on one process.

    Attributes:
        args: The settings by timm's names, after the tricks; ``lr`` is resolved, and ``rank``,
            ``world_size``, ``local_rank`` and ``distributed`` are set.
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
    output_dir: Path | None = None
    saver: Any = None

    @property
    def primary(self) -> bool:
        """Whether this process logs and writes."""
        return bool(self.args.rank == 0)
