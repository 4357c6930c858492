"""Measures, in the running training, the batch that an update averages over and its LR."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from ...evidence import Evidence, Finding

__all__ = ['BatchEvidence']

_COUNTED = 10


class BatchEvidence(Evidence):
    """Counts the samples of the first batches, the processes and the accumulated iterations.

    Args:
        effective_batch_size: Images per update that were planned.
        lr: Planned LR by the optimizer wrapper's path in the config.
    """

    def __init__(self, effective_batch_size: int, lr: dict[str, float]) -> None:
        self._effective = effective_batch_size
        self._lr = dict(lr)
        self._samples = 0
        self._batches = 0
        self._processes = 1

    def start(self, runner: Any) -> None:
        """Asks the process group for its size."""
        from torch import distributed
        if distributed.is_available() and distributed.is_initialized():
            self._processes = distributed.get_world_size()

    def before_iter(self, runner: Any, batch_idx: int, data_batch: Any) -> None:
        """Counts the samples of a batch; the largest of the first ones is the batch size."""
        if self._batches < _COUNTED:
            self._batches += 1
            self._samples = max(self._samples, _count(data_batch))

    def finding(self, runner: Any) -> Finding:
        """Compares the effective batch and the LR of the parameter groups with the plan."""
        counts = sorted({getattr(wrapper, '_accumulative_counts', 1)
                         for _, wrapper in _wrappers(runner)})
        effective = [self._samples * self._processes * count for count in counts]
        wrong = {path: lrs for path, lrs in self._base_lrs(runner).items()
                 if not any(math.isclose(lr, self._lr[path], rel_tol=1e-6) for lr in lrs)}
        live: bool | None = None
        if self._samples:
            live = effective == [self._effective] and not wrong
        rates = ', '.join(f'{lr:g}' for lr in self._lr.values())
        processes = 'process' if self._processes == 1 else 'processes'
        measured = (f'{self._samples} samples x {self._processes} {processes} x '
                    f'{"/".join(map(str, counts))} accumulation = '
                    f'{"/".join(map(str, effective))}')
        measured += ''.join(
            f'; no group of {path} has the planned LR (base LRs {_short(lrs)})'
            for path, lrs in wrong.items()) or f'; base LR {rates}'
        return Finding(f'effective batch {self._effective}, LR {rates}', live, measured, {
            'samples': self._samples, 'processes': self._processes, 'accumulation': counts,
            'effective_batch_size': effective, 'wrong_lr': wrong,
        })

    def _base_lrs(self, runner: Any) -> dict[str, list[float]]:
        """The groups' LRs before any schedule, by the planned paths."""
        found = {}
        for path, wrapper in _wrappers(runner):
            if path in self._lr:
                groups = wrapper.optimizer.param_groups
                found[path] = sorted({group.get('initial_lr', group['lr']) for group in groups})
        return {path: found.get(path, []) for path in self._lr}


def _wrappers(runner: Any) -> Iterator[tuple[str, Any]]:
    wrapper = runner.optim_wrapper
    if hasattr(wrapper, 'optim_wrappers'):
        for name, inner in wrapper.items():
            yield f'optim_wrapper.{name}', inner
    else:
        yield 'optim_wrapper', wrapper


def _count(batch: Any) -> int:
    """The samples in a batch; semi-supervised batches hold one list per branch."""
    if isinstance(batch, dict):
        inputs = batch.get('inputs', next(iter(batch.values()), ()))
        if isinstance(inputs, dict):
            return max((len(item) for item in inputs.values()), default=0)
    else:
        inputs = batch[0] if isinstance(batch, (list, tuple)) and batch else ()
    return len(inputs) if hasattr(inputs, '__len__') else 0


def _short(values: list[float]) -> str:
    return ', '.join(f'{value:g}' for value in values[:3]) + (', ...' if len(values) > 3 else '')
