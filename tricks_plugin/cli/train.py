"""Trains an mmdet config: every flag of mmdet's train.py, and --tricks."""

from __future__ import annotations

import argparse
import os
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..common.process_group import end_process_group
from ..plan.errors import FailedRunError, TrickError
from .common import add_config_arguments, load_config

__all__ = ['main']


def _parser(prog: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog, description="mmdet's train.py with tricks: every flag of it, and --tricks.")
    parser.add_argument('config', help='config file, or PACKAGE::PATH of an installed zoo')
    parser.add_argument('--work-dir', help='where logs and checkpoints go')
    parser.add_argument('--amp', action='store_true', help='automatic mixed precision')
    parser.add_argument(
        '--auto-scale-lr', action='store_true', help="mmengine's own scaling of the learning rate")
    parser.add_argument(
        '--resume', nargs='?', const='auto',
        help='resume from this checkpoint, or from the latest in the work dir')
    add_config_arguments(parser)
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    # torch.distributed.launch passes the rank by this flag, torchrun by the environment.
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    return parser


def set_flags(cfg: Any, args: argparse.Namespace) -> None:
    """Turns the flags into settings, as mmdet's train.py does.

    Raises:
        TrickError: If a flag asks for a section that the config lacks, or a file that is not
            there.
    """
    cfg.launcher = args.launcher
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(args.config).stem)
    if args.amp:
        if not isinstance(cfg.get('optim_wrapper'), dict):
            raise TrickError(f'--amp: {args.config} has no optim_wrapper')
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.loss_scale = 'dynamic'
    if args.auto_scale_lr:
        scale = cfg.get('auto_scale_lr') or {}
        if 'base_batch_size' not in scale:
            raise TrickError(f'--auto-scale-lr: {args.config} has no auto_scale_lr.base_batch_size')
        cfg.auto_scale_lr.enable = True
    if args.resume == 'auto':
        cfg.resume = True
        cfg.load_from = None
    elif args.resume is not None:
        if not Path(args.resume).exists() and '://' not in args.resume:
            raise TrickError(f'--resume: no checkpoint at {args.resume}')
        cfg.resume = True
        cfg.load_from = args.resume


def join_cpu_processes(cfg: Any) -> bool:
    """Forms the process group of torchrun's processes where there is no accelerator.

    mmengine's launcher code selects a CUDA device first, and wraps the model for one; a group that
    stands already and a wrapper named in the config keep it from both.

    Returns:
        Whether there is a group to end.
    """
    from mmengine.device import get_device
    if cfg.launcher != 'pytorch' or get_device() != 'cpu':
        return False
    import torch
    torch.distributed.init_process_group('gloo')
    if cfg.get('model_wrapper_cfg') is None:
        cfg.model_wrapper_cfg = dict(
            type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False,
            find_unused_parameters=cfg.get('find_unused_parameters', False))
    return True


def _train(runner: Any, resume: str | None) -> None:
    """Trains; a checkpoint that cannot be loaded is the user's, and told in one line."""
    try:
        runner.train()
    except (TrickError, FailedRunError):
        raise
    except Exception as error:
        if not any(frame.name == 'load_or_resume' for frame in traceback.extract_tb(
                error.__traceback__)):
            raise
        where = 'load_from' if resume is None else '--resume'
        # mmengine empties the setting while it loads
        path = resume if resume not in (None, 'auto') else runner.cfg.get('load_from') or \
            f'the latest in {runner.work_dir}'
        words = ' '.join(str(error).split())[:300]
        raise TrickError(f'{where} {path} cannot be loaded: {type(error).__name__}: {words}'
                         ) from error


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Builds the runner and trains.

    Args:
        argv: The words after the program's name; by default the process's.
        prog: The program's name in messages.

    Raises:
        TrickError: If the config, a trick or a flag is wrong.
    """
    args = _parser(prog).parse_args(argv)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    from ..mm.runner import build_runner
    try:
        from mmdet.utils import setup_cache_size_limit_of_dynamo
    except ImportError:  # other libraries train without it
        pass
    else:
        setup_cache_size_limit_of_dynamo()
    cfg = load_config(args.config, args.tricks, args.cfg_options)
    set_flags(cfg, args)
    joined = join_cpu_processes(cfg)
    try:
        _train(build_runner(cfg), args.resume)
    finally:
        if joined:
            end_process_group()
    return 0
