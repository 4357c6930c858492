"""The end of a process group."""

from __future__ import annotations

import atexit
import gc
from typing import Any

__all__ = ['end_process_group']

_ended: list[Any] = []


def end_process_group() -> None:
    """Ends the default process group; DistributedDataParallel may still hold it.

    torch's DistributedDataParallel holds the group too, and drops it under Python's global lock.
    If it is the last to do so, gloo's destructor waits, under that lock, for worker threads that
    may need the lock to free the tensors of the last collective: a deadlock, by chance. torch's
    Python handle of a group gives the lock up first, so one is kept until the interpreter ends.
    """
    import torch.distributed as dist
    _ended.append(dist.group.WORLD)
    dist.destroy_process_group()


@atexit.register
def _let_go() -> None:
    """Drops the groups while threads can still take the lock; later, torch would abort."""
    if _ended:
        gc.collect()  # wrappers in reference cycles go first
        _ended.clear()
