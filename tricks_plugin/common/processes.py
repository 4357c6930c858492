"""How many processes train together, asked in one way everywhere."""

from __future__ import annotations

import contextlib
import contextvars
import os
from collections.abc import Iterator
from typing import Any

__all__ = ['planned_for', 'processors', 'world_size']

_planned: contextvars.ContextVar[int | None] = contextvars.ContextVar('processes', default=None)

_RANKS = {'pytorch': 'WORLD_SIZE', 'slurm': 'SLURM_NTASKS', 'mpi': 'OMPI_COMM_WORLD_SIZE'}


@contextlib.contextmanager
def planned_for(processes: int | None) -> Iterator[None]:
    """Within it, `world_size` answers with this number: a plan for a run of so many processes.

    Args:
        processes: The number; None leaves the answer as it is.
    """
    token = _planned.set(processes)
    try:
        yield
    finally:
        _planned.reset(token)


def world_size(launcher: Any = None) -> int:
    """The number of training processes.

    From the process group where there is one, otherwise from the environment that the launcher
    sets, so that the answer is the same before and after the group is formed.

    Args:
        launcher: mmengine's name of the launcher: ``pytorch``, ``slurm``, ``mpi``; anything else
            for a single process. ``'any'`` looks at torchrun's variable and then at Slurm's, as
            timm does.
    """
    planned = _planned.get()
    if planned is not None:
        return planned
    from torch import distributed
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_world_size()
    names = ('WORLD_SIZE', 'SLURM_NTASKS') if launcher == 'any' else \
        (_RANKS[launcher],) if isinstance(launcher, str) and launcher in _RANKS else ()
    value = next((os.environ[name] for name in names if os.environ.get(name)), '')
    return max(int(value), 1) if value.isdigit() else 1


def processors() -> int:
    """The processors for one training process and its workers: those of the node, shared evenly."""
    own = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    beside = os.environ.get('LOCAL_WORLD_SIZE') or os.environ.get('SLURM_NTASKS_PER_NODE') or '1'
    return max(1, own // int(beside)) if beside.isdigit() and int(beside) else own
