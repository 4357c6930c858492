"""Training with timm's flags and the bag of tricks: what `tools/timm_train.py` runs."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import sys
from collections.abc import Sequence
from typing import Any

from ..common.process_group import end_process_group
from ..plan import Plan
from ..plan.errors import TrickError
from . import checks, flags
from .plan import plan_tricks

__all__ = ['main', 'train']

_OLDEST = '1.0.31'
_logger = logging.getLogger('tricks_plugin')


def main(argv: Sequence[str] | None = None) -> int:
    """Plans and trains.

    Args:
        argv: The command line; by default the process's.

    Returns:
        The exit status: 0, or 130 after an interrupt.

    Raises:
        TrickError: If a flag, a trick, the data or the checkpoint cannot be used.
    """
    settings = flags.parse(argv)
    wish = flags.trick_wish(settings)
    if wish is None and (settings.args.plan or settings.args.json):
        raise TrickError('--plan shows what tricks would set: give --tricks NAME[,NAME...]')
    plan: Plan | None = None
    args, strict = argparse.Namespace(**vars(settings.args)), False
    with contextlib.redirect_stdout(sys.stderr):
        if wish is not None:
            args, plan, strict = plan_tricks(args, settings.given, wish, settings.config)
    if plan is not None and (args.plan or args.json):
        print(json.dumps(plan.to_dict(), indent=2) if args.json else plan.table())
        return 0
    _check_timm()
    warnings = checks.check(args, settings.given)
    return train(args, plan, strict, _effective_text(args), warnings)


def _effective_text(args: argparse.Namespace) -> str:
    """The settings after the tricks as YAML: ``-c`` runs them again, here and in timm's script."""
    return flags.to_yaml(argparse.Namespace(**{**vars(args), 'tricks': None, 'trick_options': []}))


def _check_timm() -> None:
    """Raises TrickError where timm lacks what the trainer builds on."""
    import importlib.metadata
    version = importlib.metadata.version('timm')
    try:
        from timm.task import evaluation_sample_limit  # noqa: F401
        from timm.utils.summary import trim_summary  # noqa: F401
    except ImportError:
        raise TrickError(f'timm {version} is too old for this trainer, which needs {_OLDEST}; the '
                         'recipes of `python -m tricks_plugin.timm recipe` work with its own '
                         'train.py') from None


def train(
    args: argparse.Namespace, plan: Plan | None, strict: bool, text: str, warnings: Sequence[str],
) -> int:
    """Trains.

    Args:
        args: timm's settings, after the tricks. They are completed in place.
        plan: What the tricks set, or None.
        strict: Whether a trick without effect stops the run.
        text: The settings after the tricks, for ``args.yaml``.
        warnings: Sentences for the log.

    Returns:
        0, or 130 after an interrupt.

    Raises:
        TrickError: If the data or the checkpoint cannot be used, or, under ``strict``, if a trick
            shows no effect.
    """
    from timm import utils

    from .build import build_run
    from .output import Output

    settings = dict(vars(args))
    if not logging.root.handlers:
        utils.setup_default_logging()
    args.grad_accum_steps = max(1, args.grad_accum_steps)
    args.prefetcher = not args.no_prefetcher
    if args.data and not args.data_dir:
        args.data_dir = args.data
    device = utils.init_distributed_device(args)
    try:
        if args.rank == 0:
            for warning in warnings:
                _logger.warning(warning)
            if plan is not None:
                _logger.info('\n%s', plan.table())
        run = build_run(args, device)
        output = None
        if args.rank == 0:
            output = Output(run, text, None if plan is None else plan.to_dict())
        return _epochs(run, settings, output, plan, strict)
    finally:
        if args.distributed:
            end_process_group()


def _epochs(
    run: Any, settings: dict[str, Any], output: Any, plan: Plan | None, strict: bool,
) -> int:
    """The epochs, one after the other."""
    from timm import utils

    from .evidence import TimmEvidence
    from .loop import train_epoch
    from .progress import Progress

    args = run.args
    evidence = TimmEvidence(run, settings, plan, strict)
    progress = Progress(args.log_interval, shown=run.primary)
    if run.primary:
        _logger.info('epochs %d to %d on %s, %d updates each, lr set per %s', run.start_epoch,
                     run.num_epochs - 1, run.device, run.updates_per_epoch,
                     'update' if args.sched_on_updates else 'epoch')
    evidence.start()
    epoch = run.start_epoch
    try:
        for epoch in range(run.start_epoch, run.num_epochs):
            losses = train_epoch(run, epoch, evidence, progress)
            if args.distributed and args.dist_bn in ('broadcast', 'reduce'):
                utils.distribute_bn(run.task.get_trainable_module(), args.world_size,
                                    args.dist_bn == 'reduce')
            metric = _validate_and_save(run, output, progress, epoch, losses)
            evidence.epoch_end(epoch)
            if run.scheduler is not None:
                run.scheduler.step(epoch + 1, metric)
    except KeyboardInterrupt:
        if run.primary:
            _logger.warning('interrupted in epoch %d; go on with --resume %s', epoch,
                            run.output_dir / 'last.pth.tar')
        return 130
    finally:
        progress.end()
        evidence.close()
        if output is not None:
            output.close()
    return 0


def _validate_and_save(
    run: Any, output: Any, progress: Any, epoch: int, losses: dict[str, float],
) -> float | None:
    """Validates, and writes the epoch's row and checkpoint; returns the metric, if it was due."""
    from timm import utils

    from .loop import validate

    args = run.args
    last = epoch + 1 == run.num_epochs
    if (epoch + 1) % args.val_interval and not last:
        return None
    metrics = None
    if run.loader_eval is not None:
        metrics = validate(run, progress)
        if run.task.has_ema() and not args.model_ema_force_cpu:
            if args.distributed and args.dist_bn in ('broadcast', 'reduce'):
                utils.distribute_bn(run.task.get_trainable_module(ema=True), args.world_size,
                                    args.dist_bn == 'reduce')
            metrics = validate(run, progress, ema=True)
    if output is not None:
        return output.epoch(epoch, losses, metrics)
    return (metrics or losses).get(args.eval_metric if metrics else 'loss')
