"""A training's settings, completed step by step; each step gives a new namespace."""

from __future__ import annotations

import argparse
import logging
from typing import Any

import torch
from timm import utils

from .rate import scales_linearly

__all__ = ['changed', 'prepare', 'with_classes', 'with_lr']

_logger = logging.getLogger('tricks_plugin')


def changed(args: argparse.Namespace, **values: Any) -> argparse.Namespace:
    """A copy of the settings with other values."""
    return argparse.Namespace(**{**vars(args), **values})


def prepare(args: argparse.Namespace) -> tuple[argparse.Namespace, torch.device]:
    """What follows from the flags alone and from the launcher; joins the process group.

    Args:
        args: timm's settings, after the tricks; not changed.

    Returns:
        ``(settings, device)``: with ``data_dir``, ``grad_accum_steps``, ``prefetcher``, ``rank``,
        ``world_size``, ``local_rank`` and ``distributed``; ``dist_bn`` is empty under sync_bn,
        where all processes have the same statistics.
    """
    settings = changed(
        args, grad_accum_steps=max(1, args.grad_accum_steps), prefetcher=not args.no_prefetcher,
        data_dir=args.data_dir or args.data)
    device = utils.init_distributed_device(settings)
    if settings.distributed and settings.sync_bn:
        settings.dist_bn = ''
    return settings, device


def with_classes(args: argparse.Namespace, classes: int) -> argparse.Namespace:
    """The settings with ``num_classes``; the model's number where none is given."""
    return args if args.num_classes is not None else changed(args, num_classes=classes)


def with_lr(args: argparse.Namespace, images: float) -> argparse.Namespace:
    """The settings with ``lr``: ``lr_base`` times the batch over ``lr_base_size``, or its root.

    Args:
        args: timm's settings; a ``lr`` that is given stays.
        images: Images in a batch of one process.

    Source: Goyal et al. (arXiv 1706.02677) section 2.1; the root for adaptive optimizers is timm's.
    """
    if args.lr:
        return args
    effective = images * args.world_size * args.grad_accum_steps
    ratio = effective / args.lr_base_size
    scale = args.lr_base_scale or ('linear' if scales_linearly(vars(args)) else 'sqrt')
    lr = args.lr_base * (ratio ** 0.5 if scale == 'sqrt' else ratio)
    if args.rank == 0:
        _logger.info('lr %g: %s scaling of lr_base %g from %d to %g images per update', lr,
                     scale, args.lr_base, args.lr_base_size, effective)
    return changed(args, lr=lr, lr_base_scale=scale)
