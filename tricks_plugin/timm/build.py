"""Building the parts of a timm training from timm's flags."""

from __future__ import annotations

import argparse
import logging
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from timm import utils
from timm.data import resolve_data_config
from timm.layers import convert_splitbn_model, set_fast_norm
from timm.models import create_model, safe_model_name
from timm.optim import create_optimizer_v2, optimizer_kwargs
from timm.scheduler import create_scheduler_v2, scheduler_kwargs
from timm.task import (
    ClassificationTask,
    load_task_ema_checkpoint,
    resume_task_checkpoint,
)
from torch import nn

from ..plan.errors import TrickError
from ..tricks.sync_bn.convert import synchronize_batch_norms
from . import data
from .mixing import build_mixup
from .run import Run

__all__ = ['build_run', 'resolve_lr']

_SQRT_OPTIMIZERS = ('ada', 'lamb')
_logger = logging.getLogger('tricks_plugin')


def build_run(args: argparse.Namespace, device: torch.device) -> Run:
    """Builds everything but the output folder; resumes where the flags ask for it.

    Args:
        args: timm's settings, after the tricks and timm's distributed set-up. ``num_classes``,
            ``lr`` and ``lr_base_scale`` are filled in, ``dist_bn`` emptied under sync_bn.
        device: Where to train.

    Raises:
        TrickError: If the data, the checkpoint or the model cannot be used.
    """
    if torch.cuda.is_available():
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    utils.random_seed(args.seed, args.rank)
    dtype = getattr(torch, args.model_dtype or 'float32')
    model = _build_model(args)
    data_config = resolve_data_config(vars(args), model=model, verbose=args.rank == 0)
    model = _place(model, args, device, dtype)
    autocast, scaler = _mixed_precision(args, device)

    channels = data_config['input_size'][0]
    mode = args.input_img_mode or ('RGB' if channels == 3 else 'L')
    train, val = data.build_datasets(args, mode)
    mixup = build_mixup(args)
    loader_train, loader_eval = data.build_loaders(
        args, train, val, mixup, data_config, device, dtype)
    reference = float(args.batch_size)
    if args.train_img_sizes is not None:
        reference = float(loader_train.batch_sampler.average_batch_size)
    resolve_lr(args, reference)

    task = ClassificationTask(model=model, criterion_kwargs=_loss(args, mixup is not None),
                              device=device, dtype=dtype, verbose=args.rank == 0)
    optimizer = create_optimizer_v2(model, **optimizer_kwargs(cfg=args), **args.opt_kwargs)
    start = _resume(task, args, optimizer, scaler)
    _wrap(task, args, device)
    accumulation = args.grad_accum_steps
    updates = (len(loader_train) + accumulation - 1) // accumulation
    scheduler, epochs = create_scheduler_v2(
        optimizer, updates_per_epoch=updates,
        **scheduler_kwargs(args, decreasing_metric=loader_eval is None
                           or args.eval_metric == 'loss'))
    if scheduler is not None and start > 0:
        if args.sched_on_updates:
            scheduler.step_update(start * updates)
        else:
            scheduler.step(start)
    return Run(args=args, device=device, task=task, model=model, optimizer=optimizer,
               scheduler=scheduler, loader_train=loader_train, loader_eval=loader_eval,
               mixup=mixup, loss_scaler=scaler, autocast=autocast, model_dtype=dtype,
               updates_per_epoch=updates, num_epochs=epochs, start_epoch=start,
               reference_batch=reference, data_config=data_config)


def _build_model(args: argparse.Namespace) -> Any:
    if args.fuser:
        utils.set_jit_fuser(args.fuser)
    if args.fast_norm:
        set_fast_norm()
    channels = args.in_chans or (args.input_size[0] if args.input_size else 3)
    options: dict[str, Any] = {}
    if args.pretrained_path:
        # -1 has timm fit the head to this run's number of classes.
        options['pretrained_cfg_overlay'] = dict(file=args.pretrained_path, num_classes=-1)
    try:
        model = create_model(
            args.model, pretrained=args.pretrained, in_chans=channels,
            num_classes=args.num_classes, drop_rate=args.drop, drop_path_rate=args.drop_path,
            drop_block_rate=args.drop_block, global_pool=args.gp, bn_momentum=args.bn_momentum,
            bn_eps=args.bn_eps, scriptable=args.torchscript,
            checkpoint_path=args.initial_checkpoint, **options, **args.model_kwargs)
    except TypeError as error:
        raise TrickError(f'--model {args.model} with --model-kwargs {args.model_kwargs}: '
                         f'{error}') from error
    head = model.get_classifier()
    if args.head_init_scale is not None:
        with torch.no_grad():
            head.weight.mul_(args.head_init_scale)
            head.bias.mul_(args.head_init_scale)
    if args.head_init_bias is not None:
        nn.init.constant_(head.bias, args.head_init_bias)
    if args.num_classes is None:
        args.num_classes = model.num_classes
    if args.grad_checkpointing:
        model.set_grad_checkpointing(enable=True)
    if args.rank == 0:
        _logger.info('%s: %d parameters', safe_model_name(args.model),
                     sum(parameter.numel() for parameter in model.parameters()))
    return model


def _place(model: Any, args: argparse.Namespace, device: torch.device, dtype: torch.dtype) -> Any:
    """Moves the model to its device, and converts its norms."""
    if args.split_bn:
        model = convert_splitbn_model(model, max(args.aug_splits, 2))
    model.to(device=device, dtype=dtype)
    if args.channels_last:
        model.to(memory_format=torch.channels_last)
    if args.distributed and args.sync_bn:
        args.dist_bn = ''  # the statistics are equal already
        found = synchronize_batch_norms(model.train())
        if args.rank == 0:
            _logger.info('sync_bn: %s', found)
    return torch.jit.script(model) if args.torchscript else model


def _mixed_precision(args: argparse.Namespace, device: torch.device) -> tuple[Any, Any]:
    """``(autocast, scaler)``: the context of a forward pass, and float16's loss scaler."""
    if not args.amp:
        return nullcontext, None
    dtype = getattr(torch, args.amp_dtype)

    def autocast() -> AbstractContextManager[Any]:
        return torch.autocast(device_type=device.type, dtype=dtype)

    scaled = device.type == 'cuda' and dtype == torch.float16
    return autocast, utils.NativeScaler(device=device.type) if scaled else None


def resolve_lr(args: argparse.Namespace, images: float) -> None:
    """Fills in ``lr``: ``lr_base`` times the effective batch over ``lr_base_size``, or its root.

    Args:
        args: timm's settings; ``lr`` stays if it is given, ``lr_base_scale`` is filled in.
        images: Images in a batch of one process.

    Source: Goyal et al. (arXiv 1706.02677) section 2.1; the root for adaptive optimizers is timm's.
    """
    if args.lr:
        return
    effective = images * args.world_size * args.grad_accum_steps
    ratio = effective / args.lr_base_size
    if not args.lr_base_scale:
        adaptive = any(name in args.opt.lower() for name in _SQRT_OPTIMIZERS)
        args.lr_base_scale = 'sqrt' if adaptive else 'linear'
    if args.lr_base_scale == 'sqrt':
        ratio = ratio ** 0.5
    args.lr = args.lr_base * ratio
    if args.rank == 0:
        _logger.info('lr %g: %s scaling of lr_base %g from %d to %g images per update', args.lr,
                     args.lr_base_scale, args.lr_base, args.lr_base_size, effective)


def _loss(args: argparse.Namespace, mixed: bool) -> dict[str, Any]:
    """The settings of timm's criterion; mixup smooths the targets itself."""
    kind = 'jsd' if args.jsd_loss else 'bce' if args.bce_loss else 'ce'
    options: dict[str, Any] = dict(loss_type=kind, smoothing=args.smoothing, soft_targets=mixed)
    if kind == 'bce':
        options.update(bce_target_thresh=args.bce_target_thresh, bce_sum=args.bce_sum,
                       pos_weight=args.bce_pos_weight)
    elif kind == 'jsd':
        options.update(jsd_splits=args.aug_splits, soft_targets=False)
    return options


def _resume(task: Any, args: argparse.Namespace, optimizer: Any, scaler: Any) -> int:
    """Loads the checkpoint and sets up the average; returns the epoch to start with."""
    epoch = None
    # Where torch knows no safe list of classes (before 2.4), it refuses the settings that timm
    # keeps in its checkpoints.
    safe = hasattr(torch.serialization, 'safe_globals')
    if args.resume:
        try:
            epoch = resume_task_checkpoint(
                task, args.resume, optimizer=None if args.no_resume_opt else optimizer,
                loss_scaler=None if args.no_resume_opt else scaler, log_info=args.rank == 0,
                weights_only=safe)
        except (RuntimeError, KeyError, ValueError, OSError) as error:
            text = ' '.join(str(error).split())
            raise TrickError(f'--resume {args.resume}: {text[:300]}') from error
    if args.model_ema:
        task.setup_ema(decay=args.model_ema_decay, use_warmup=args.model_ema_warmup,
                       device='cpu' if args.model_ema_force_cpu else None)
        if args.resume:
            load_task_ema_checkpoint(task, args.resume, weights_only=safe)
    return args.start_epoch if args.start_epoch is not None else epoch or 0


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
