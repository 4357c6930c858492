"""Training with timm's flags and the bag of tricks: what `tools/timm_train.py` runs."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ..common.process_group import end_process_group
from ..plan import Plan
from ..plan.errors import TrickError
from . import checks, flags
from .boundary import one_line
from .plan import plan_tricks

if TYPE_CHECKING:
    from .data_watch import DataWatch
    from .evidence import TimmEvidence
    from .output import Output
    from .progress import Progress
    from .resume import Former
    from .run import Run

__all__ = ['Follower', 'Order', 'main', 'train']

_OLDEST = '1.0.31'
_logger = logging.getLogger('tricks_plugin')


@dataclasses.dataclass(frozen=True)
class Order:
    """What to train.

    Attributes:
        args: timm's settings, after the tricks.
        asked: The settings before them.
        given: The names of those that the user set, now or in the training that is resumed.
        plan: What the tricks set, or None.
        strict: Whether a trick without effect stops the run.
        warnings: Sentences for the log.
        former: The training that is resumed, or None.
        taken: What the settings have from it.
    """

    args: argparse.Namespace
    asked: argparse.Namespace
    given: frozenset[str]
    plan: Plan | None = None
    strict: bool = False
    warnings: Sequence[str] = ()
    former: Former | None = None
    taken: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class Follower(Protocol):
    """What follows a training epoch by epoch."""

    def begin(self, run: Run) -> None:
        """Called when all is built, before the first epoch."""

    def trained(self, epoch: int) -> None:
        """Called when an epoch, counted from 0, is trained, before its validation."""

    def validated(self, epoch: int, metrics: Mapping[str, float] | None) -> None:
        """Called after validation and checkpoint; None where no validation was due."""


def main(argv: Sequence[str] | None = None) -> int:
    """Plans and trains.

    Args:
        argv: The command line; by default the process's.

    Returns:
        The exit status: 0, also where a resumed training is over already; 1 where the loss is no
        number any more; 130 after an interrupt.

    Raises:
        TrickError: If a flag, a trick, a file, the data or the checkpoint cannot be used.
    """
    settings = flags.parse(argv)
    wish = flags.trick_wish(settings)
    if wish is None and (settings.args.plan or settings.args.json):
        raise TrickError('--plan shows what tricks would set: give --tricks NAME[,NAME...]')
    asked, given, former = argparse.Namespace(**vars(settings.args)), settings.given, None
    taken: Mapping[str, Any] = {}
    if asked.resume:
        _check_timm()
        from .resume import former_run, inherit
        former = former_run(asked.resume)
        asked, given, taken = inherit(asked, given, former)
    plan: Plan | None = None
    args, strict = argparse.Namespace(**vars(asked)), False
    with contextlib.redirect_stdout(sys.stderr):
        if wish is not None:
            args, plan, strict = plan_tricks(args, given, wish, settings.config)
    if plan is not None and (args.plan or args.json):
        print(json.dumps(plan.to_dict(), indent=2) if args.json else plan.table())
        return 0
    _check_timm()
    warnings = checks.check(args, settings.given)
    return train(Order(args, asked, given, plan, strict, warnings, former, taken))


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


def train(order: Order, follower: Follower | None = None) -> int:
    """Trains.

    Args:
        order: What; nothing in it is changed.
        follower: What follows it.

    Returns:
        As `main`.

    Raises:
        TrickError: If the data or the checkpoint cannot be used, or, under ``strict``, if a trick
            shows no effect.
    """
    import torch
    from timm import utils

    from .build import build_run
    from .settings import prepare

    if not logging.root.handlers:
        utils.setup_default_logging()
    args, device = prepare(order.args)
    try:
        if args.rank == 0:
            for warning in order.warnings:
                _logger.warning(warning)
            if order.plan is not None:
                _logger.info('\n%s', order.plan.table())
        run = build_run(args, device, order.former, order.taken)
        if run.start_epoch >= run.num_epochs:
            if run.primary:
                _logger.warning('nothing to train: the first epoch would be %d, and the run has '
                                '%d epochs; give more --epochs; nothing is written, so that what '
                                'lies in --output is of the run before', run.start_epoch,
                                run.num_epochs)
            return 0
        return _epochs(run, order, follower)
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)) \
                and 'allocate memory' not in str(error):  # as torch says it of a CPU
            raise
        raise TrickError(f'out of memory at --batch-size {args.batch_size}: {one_line(error)}'
                         ) from error
    finally:
        if args.distributed:
            end_process_group()


def _epochs(run: Run, order: Order, follower: Follower | None) -> int:
    """The epochs, one after the other."""
    from .data_watch import DataWatch
    from .evidence import TimmEvidence
    from .output import Output
    from .progress import Progress
    from .resume import keep_asked

    args, output = run.args, None
    if run.primary:
        kept = keep_asked(args, order.asked, order.given)
        output = Output(run, _effective_text(order.args),
                        None if order.plan is None else order.plan.to_dict(), kept)
    evidence = TimmEvidence(run, vars(order.args), order.plan, order.strict)
    progress = Progress(args.log_interval, shown=run.primary)
    if run.primary:
        _logger.info('epochs %d to %d on %s, %d updates each, lr set per %s', run.start_epoch,
                     run.num_epochs - 1, run.device, run.updates_per_epoch,
                     'update' if args.sched_on_updates else 'epoch')
    evidence.start()
    watch = DataWatch(run, evidence)
    evidence.training.observers.append(watch.monitor)
    failed = True
    try:
        if follower is not None:
            follower.begin(run)
        status = _train_epochs(run, output, evidence, watch, progress, follower)
        failed = status != 0
        return status
    finally:
        progress.end()
        watch.close()
        try:
            evidence.close(failed)
        finally:
            if output is not None:
                output.close()


def _train_epochs(
    run: Run, output: Output | None, evidence: TimmEvidence, watch: DataWatch,
    progress: Progress, follower: Follower | None,
) -> int:
    """Trains, validates and saves; returns the exit status."""
    from timm import utils

    from ..common.finite import NonFiniteError
    from .failure import check_end
    from .loop import train_epoch

    args, epoch = run.args, run.start_epoch
    try:
        for epoch in range(run.start_epoch, run.num_epochs):
            losses = train_epoch(run, epoch, watch, progress)
            watch.epoch_end()
            if args.distributed and args.dist_bn in ('broadcast', 'reduce'):
                utils.distribute_bn(run.task.get_trainable_module(), args.world_size,
                                    args.dist_bn == 'reduce')
            if follower is not None:
                follower.trained(epoch)
            metric, metrics = _validate_and_save(run, output, progress, epoch, losses)
            if follower is not None:
                follower.validated(epoch, metrics)
            evidence.epoch_end(epoch)
            if run.scheduler is not None:
                run.scheduler.step(epoch + 1, metric)
        check_end(run)
    except NonFiniteError as error:
        _logger.error('%s', error)
        return 1
    except KeyboardInterrupt:
        if run.output_dir is not None:
            _logger.warning('interrupted in epoch %d; go on with --resume %s', epoch,
                            run.output_dir / 'last.pth.tar')
        return 130
    return 0


def _validate_and_save(
    run: Run, output: Output | None, progress: Progress, epoch: int, losses: dict[str, float],
) -> tuple[float | None, dict[str, float] | None]:
    """Validates, and writes the epoch's row and checkpoint; the ranking metric and all of them."""
    from timm import utils

    from .loop import validate

    args = run.args
    last = epoch + 1 == run.num_epochs
    if (epoch + 1) % args.val_interval and not last:
        return None, None
    metrics = None
    if run.loader_eval is not None:
        metrics = validate(run, progress)
        if run.task.has_ema() and not args.model_ema_force_cpu:
            if args.distributed and args.dist_bn in ('broadcast', 'reduce'):
                utils.distribute_bn(run.task.get_trainable_module(ema=True), args.world_size,
                                    args.dist_bn == 'reduce')
            metrics = validate(run, progress, ema=True)
    if output is not None:
        return output.epoch(epoch, losses, metrics), metrics
    return (metrics or losses).get(args.eval_metric if metrics else 'loss'), metrics
