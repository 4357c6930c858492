"""Locks between processes, by files; the system frees them when their holder is gone."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

__all__ = ['is_locked', 'locked']


@contextlib.contextmanager
def locked(path: Path, tries: int = 1) -> Iterator[IO[str] | None]:
    """Holds a file's lock; yields None where another process holds it.

    Args:
        path: The file; it is made, and stays.
        tries: How often to try, 0.2 s apart.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('a') as file:
        for left in reversed(range(tries)):
            if _try(file):
                yield file
                return
            time.sleep(0.2 if left else 0)
        yield None


def is_locked(path: Path) -> bool:
    """Whether another holder has the file's lock."""
    if not path.is_file():
        return False
    with locked(path) as file:
        return file is None


def _try(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
