"""Trainings that have failed: losses and weights that are no numbers any more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..common.finite import NonFiniteError
from ..plan.errors import TrickError
from .run import Run

__all__ = ['check_end', 'fitting_lr', 'stop_if_failed']

# Float16's loss scale is halved with each skipped update: from 65536, this is 30 in a row.
_LEAST_SCALE = 2.0 ** -14
_ADVICE = 'try a smaller --lr, a longer --warmup-epochs or --clip-grad'


def stop_if_failed(run: Run, epoch: int, update: int, loss: torch.Tensor) -> None:
    """Stops where updates in a row have no finite loss, or are all skipped. Waits for the device.

    Args:
        run: The training.
        epoch: The one under way, counted from 0.
        update: How many updates the training has made.
        loss: The latest one, a scalar.

    Raises:
        NonFiniteError: If the training has failed.
    """
    found = run.watch.found()
    if found is not None:
        since = run.start_epoch * run.updates_per_epoch + found.since
        raise NonFiniteError(
            f'stopped in epoch {epoch}: the loss is not finite since update {since} '
            f'(epoch {since // run.updates_per_epoch}), for {found.length} updates in a row, '
            f'now {float(loss.detach())}; {_state(run)}; {_ADVICE}')
    scale = None if run.loss_scaler is None else run.loss_scaler.state_dict().get('scale')
    if scale is not None and scale < _LEAST_SCALE:
        raise NonFiniteError(
            f'stopped in epoch {epoch} at update {update}: the gradients are not finite, so that '
            f'the loss scale fell to {scale:g} and every update is skipped; {_state(run)}; try '
            '--amp-dtype bfloat16')


def check_end(run: Run) -> None:
    """Raises NonFiniteError where a training has come to its end without sound weights.

    A run of few updates is over before `stop_if_failed` sees enough of them.

    Args:
        run: The training, its last epoch done.
    """
    row = run.watch.at_the_end()
    sound = all(bool(torch.isfinite(one.detach()).all()) for one in run.model.parameters())
    if sound and row is None:
        return
    what = 'the weights are not finite' if row is None else (
        'the loss is not finite since update '
        f'{run.start_epoch * run.updates_per_epoch + row.since}')
    raise NonFiniteError(
        f'the training has failed: at its end {what}; {_state(run)}; {_ADVICE}')


@contextmanager
def fitting_lr(run: Run) -> Iterator[None]:
    """Turns torch's error of an LR beyond the weights' dtype into one that names the flag."""
    try:
        yield
    except RuntimeError as error:
        if 'without overflow' not in str(error):
            raise
        raise TrickError(f'an LR of {_largest_lr(run):g} does not fit into the weights, which are '
                         f'{run.model_dtype}: give a smaller --lr or --lr-base') from error


def _state(run: Run) -> str:
    """The LR and the precision in words."""
    return f'lr {_largest_lr(run):g}, {run.dtype_name}'


def _largest_lr(run: Run) -> float:
    return max(float(group['lr']) for group in run.optimizer.param_groups)
