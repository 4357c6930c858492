"""Building the parts of a timm training from timm's flags."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from timm import utils
from timm.data import resolve_data_config
from timm.optim import create_optimizer_v2, optimizer_kwargs
from timm.scheduler import create_scheduler_v2, scheduler_kwargs

from . import data
from .boundary import naming
from .mixing import build_mixup
from .model import build_model, place
from .resume import Former, Resumed, compare, former_run, restore, restore_average
from .run import Run
from .settings import with_classes, with_lr
from .task import build_task

__all__ = ['build_run']

_logger = logging.getLogger('tricks_plugin')


def build_run(
    args: argparse.Namespace, device: torch.device, former: Former | None = None,
    taken: Mapping[str, Any] | None = None,
) -> Run:
    """Builds everything but the output folder; resumes where the flags ask for it.

    Args:
        args: timm's settings, after the tricks and `settings.prepare`; not changed. The run has
            them completed by ``num_classes``, ``lr`` and ``lr_base_scale``.
        device: Where to train.
        former: The training that is resumed; None reads it from ``args.resume`` where that is set.
        taken: What the settings have from it.

    Raises:
        TrickError: If the data, the checkpoint or the model cannot be used.
    """
    if torch.cuda.is_available():
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    utils.random_seed(args.seed, args.rank)
    dtype = getattr(torch, args.model_dtype or 'float32')
    model = build_model(args)
    args = with_classes(args, model.num_classes)
    data_config = resolve_data_config(vars(args), model=model, verbose=args.rank == 0)
    model = place(model, args, device, dtype)
    autocast, scaler = _mixed_precision(args, device)

    channels = data_config['input_size'][0]
    train, val = data.build_datasets(
        args, args.input_img_mode or ('RGB' if channels == 3 else 'L'))
    mixup = build_mixup(args)
    loader_train, loader_eval = data.build_loaders(
        args, train, val, mixup, data_config, device, dtype)
    reference = float(args.batch_size)
    if args.train_img_sizes is not None:
        reference = float(loader_train.batch_sampler.average_batch_size)
    args = with_lr(args, reference)

    task = build_task(model, args, data_config, mixup is not None, device, dtype)
    optimizer = _optimizer(model, args)
    resumed, start = _resume(task, args, optimizer, scaler, former, taken or {})
    _wrap(task, args, device)
    updates = (len(loader_train) + args.grad_accum_steps - 1) // args.grad_accum_steps
    scheduler, epochs = _scheduler(optimizer, args, updates, start, loader_eval is not None)
    return Run(args=args, device=device, task=task, model=model, optimizer=optimizer,
               scheduler=scheduler, loader_train=loader_train, loader_eval=loader_eval,
               mixup=mixup, loss_scaler=scaler, autocast=autocast, model_dtype=dtype,
               updates_per_epoch=updates, num_epochs=epochs, start_epoch=start,
               reference_batch=reference, data_config=data_config, resumed=resumed)


def _optimizer(model: Any, args: argparse.Namespace) -> torch.optim.Optimizer:
    options = f' with --opt-kwargs {args.opt_kwargs}' if args.opt_kwargs else ''
    with naming(f'--opt {args.opt}{options}'):
        optimizer: torch.optim.Optimizer = create_optimizer_v2(
            model, **optimizer_kwargs(cfg=args), **args.opt_kwargs)
    return optimizer


def _scheduler(
    optimizer: torch.optim.Optimizer, args: argparse.Namespace, updates: int, start: int,
    validated: bool,
) -> tuple[Any, int]:
    """Timm's scheduler, set to the first epoch, and the number of epochs."""
    decreasing = not validated or args.eval_metric == 'loss'
    with naming(f'--sched {args.sched}'):
        scheduler, epochs = create_scheduler_v2(
            optimizer, updates_per_epoch=updates,
            **scheduler_kwargs(args, decreasing_metric=decreasing))
    if scheduler is not None and start > 0:
        if args.sched_on_updates:
            scheduler.step_update(start * updates)
        else:
            scheduler.step(start)
        if args.sched == 'plateau' and args.rank == 0:
            _logger.warning('resume: --sched plateau counts anew from lr %g: checkpoints do not '
                            'hold what it has counted', args.lr)
    return scheduler, epochs


def _mixed_precision(args: argparse.Namespace, device: torch.device) -> tuple[Any, Any]:
    """``(autocast, scaler)``: the context of a forward pass, and float16's loss scaler."""
    if not args.amp:
        return nullcontext, None
    dtype = getattr(torch, args.amp_dtype)

    def autocast() -> AbstractContextManager[Any]:
        return torch.autocast(device_type=device.type, dtype=dtype)

    scaled = device.type == 'cuda' and dtype == torch.float16
    return autocast, utils.NativeScaler(device=device.type) if scaled else None


def _resume(
    task: Any, args: argparse.Namespace, optimizer: Any, scaler: Any, former: Former | None,
    taken: Mapping[str, Any],
) -> tuple[Resumed | None, int]:
    """Loads the checkpoint and sets up the average; returns the epoch to start with too."""
    resumed, epoch = None, None
    if args.resume:
        former = former or former_run(args.resume)
        epoch = restore(task, args, optimizer, scaler)
        resumed = compare(args, former, taken)
    if args.model_ema:
        task.setup_ema(decay=args.model_ema_decay, use_warmup=args.model_ema_warmup,
                       device='cpu' if args.model_ema_force_cpu else None)
        if args.resume:
            restore_average(task, args)
    return resumed, args.start_epoch if args.start_epoch is not None else epoch or 0


def _wrap(task: Any, args: argparse.Namespace, device: torch.device) -> None:
    """Compiles and distributes the task's model."""
    if args.torchcompile:
        task.compile(backend=args.torchcompile, mode=args.torchcompile_mode)
        if task.has_ema():
            task.compile_ema(backend=args.torchcompile, mode=args.torchcompile_mode)
    if args.distributed:
        task.prepare_distributed(
            device_ids=None if device.type == 'cpu' else [device],
            broadcast_buffers=not args.no_ddp_bb)
