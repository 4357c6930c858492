"""Filling a cache before a training."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .images import Reader
from .keys import rank_of
from .store import Store

__all__ = ['Filled', 'fill', 'loading']

_CHUNK = 64


@dataclasses.dataclass(frozen=True)
class Filled:
    """What came of it.

    Attributes:
        files: Different files of the set.
        read: Those that were asked for; the others would not fit.
        failed: Those that could not be read.
        first_error: What the first of these raised.
    """

    files: int
    read: int
    failed: int
    first_error: str


def loading(reader: Reader) -> Any:
    """The transform or backend of a config's reader, built.

    Args:
        reader: One that reads through the cache.
    """
    from .backend import CachedBackend
    from .loader import LoadCachedImage
    node = {key: value for key, value in reader.node.items() if key != 'type'}
    if reader.level == 'decoded':
        return LoadCachedImage(**node)
    own = node.get('backend_args') or {}
    if own.get('backend') == 'cached':
        return CachedBackend(**{key: value for key, value in own.items() if key != 'backend'})
    return CachedBackend(own or None, node.get('folder'), node.get('budget_mb'))


def fill(
    files: Iterable[str], source: Any, store: Store,
    progress: Callable[[Iterator[int], int], Iterable[int]] = lambda steps, total: steps,
) -> Filled:
    """Reads files through a cache in the order of their ranks, until one does not fit.

    Args:
        files: Paths.
        source: As `loading` gives it.
        store: The cache's folder.
        progress: Shows the steps: gets them and their number, and gives them back.
    """
    names = {path: source.name_of(path) for path in dict.fromkeys(files)}
    order = sorted(names, key=lambda path: rank_of(names[path]))
    errors: list[str] = []
    read = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in progress(iter(range(0, len(order), _CHUNK)), -(-len(order) // _CHUNK)):
            chunk = _admitted(order[start:start + _CHUNK], names, store)
            errors += filter(None, pool.map(lambda path: _failure(source, path), chunk))
            read += len(chunk)
    return Filled(len(order), read, len(errors), errors[0] if errors else '')


def _admitted(paths: Sequence[str], names: dict[str, str], store: Store) -> list[str]:
    limit = store.limit
    return [path for path in paths if rank_of(names[path]) < limit]


def _failure(source: Any, path: str) -> str:
    """Loads one; what went wrong, in a line."""
    try:
        source.load(path)
    except Exception as error:  # the user's files may raise anything
        return f'{path}: {type(error).__name__}: {" ".join(str(error).split())}'
    return ''
