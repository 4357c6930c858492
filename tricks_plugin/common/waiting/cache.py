"""What a training's cache of files does at a moment, as the advice needs it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

__all__ = ['Cache', 'cache_of', 'strongest']


@dataclasses.dataclass(frozen=True)
class Cache:
    """The cache that a training reads through.

    Attributes:
        level: ``encoded`` (the bytes of files) or ``decoded``; empty without a cache.
        full: Whether it refuses files that do not fit.
        filling: Whether most of what this run asked for was not there yet.
    """

    level: str = ''
    full: bool = False
    filling: bool = False


def strongest(caches: Iterator[Cache]) -> Cache:
    """The one that keeps most of an image's work; an empty one where there is none."""
    return max(caches, key=lambda one: ('', 'encoded', 'decoded').index(one.level),
               default=Cache())


def cache_of(dataset: Any) -> Cache:
    """The cache of a data set, through any wrappers (``.dataset``), by its reader's ``cache_now``.

    Args:
        dataset: One whose files are read by ``.reader``, as timm's.
    """
    def found(node: Any) -> Iterator[Cache]:
        while node is not None:
            reader: Any = vars(node).get('reader') if hasattr(node, '__dict__') else None
            if hasattr(type(reader), 'cache_now'):
                yield reader.cache_now()
            node = vars(node).get('dataset') if hasattr(node, '__dict__') else None

    return strongest(found(dataset))
