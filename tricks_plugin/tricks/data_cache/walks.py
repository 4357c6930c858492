"""The files below a folder."""

from __future__ import annotations

import os
import time

__all__ = ['files_below']


def files_below(root: str | os.PathLike[str], endings: tuple[str, ...],
                seconds: float = float('inf')) -> list[str] | None:
    """The files of some endings below a folder, sorted; links are followed, each folder once.

    Args:
        root: The folder.
        endings: In lower case.
        seconds: How long it may take.

    Returns:
        Paths; None if it takes longer.
    """
    end, found, seen = time.monotonic() + seconds, [], set()
    for place, folders, names in os.walk(root, followlinks=True):
        if time.monotonic() > end:
            return None
        real = os.path.realpath(place)
        if real in seen:  # a link to a folder above would lead round for ever
            folders.clear()
            continue
        seen.add(real)
        found += [os.path.join(place, name) for name in names if name.lower().endswith(endings)]
    return sorted(found)
