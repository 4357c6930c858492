"""Puts timers into the pipelines of a dataset of mmengine: reading apart from decoding."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from mmengine.fileio import BaseStorageBackend, get_file_backend, register_backend

from ..common.step_timer import StepTimer, name_of, step_names, time_steps
from ..common.waiting.cache import Cache, strongest

__all__ = ['TimedBackend', 'cache_of', 'holders', 'instrument', 'pipeline_of']

_NAME = 'tricks_plugin.timed'
_timers: list[StepTimer] = []


@register_backend(_NAME)
class TimedBackend(BaseStorageBackend):
    """Reads through another backend, and counts the time as reading.

    Args:
        inner: ``backend_args`` of the other one; None leaves it to the path.
    """

    def __init__(self, inner: dict[str, Any] | None = None) -> None:
        self._inner = inner

    def get(self, filepath: Any) -> bytes:
        """The file's bytes."""
        return self._read('get', filepath)

    def get_text(self, filepath: Any, *args: Any, **kwargs: Any) -> str:
        """The file as text."""
        return self._read('get_text', filepath, *args, **kwargs)

    def _read(self, method: str, filepath: Any, *args: Any, **kwargs: Any) -> Any:
        backend = get_file_backend(filepath, backend_args=self._inner, enable_singleton=True)
        if not _timers:
            return getattr(backend, method)(filepath, *args, **kwargs)
        with _timers[-1].within('reading'):
            return getattr(backend, method)(filepath, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__') or name == '_inner':
            raise AttributeError(name)
        return getattr(get_file_backend('', backend_args=self._inner, enable_singleton=True), name)


def instrument(dataset: Any, timer: StepTimer) -> Any:
    """Times every transform of a dataset, through any nesting of wrappers, in place.

    Files that a transform reads by its ``backend_args`` count apart, as the transform's reading;
    so do those of a transform with a method ``read_through``, which takes what turns the
    ``backend_args`` of its source into others.

    Args:
        dataset: A dataset or a wrapper (``.dataset``, ``.datasets``), whose ``pipeline`` is a
            Compose or a list.
        timer: Where the time counts.

    Returns:
        The dataset.
    """
    _timers[:] = [timer]
    timed: set[int] = set()
    for holder in holders(dataset):
        if id(holder.pipeline) not in timed:
            holder.pipeline = time_steps(holder.pipeline, timer, _prepare)
            timed.add(id(holder.pipeline))
    return dataset


def pipeline_of(dataset: Any) -> list[str]:
    """The names of a dataset's transforms, through any nesting, with the backend they read by."""
    return [name for holder in holders(dataset)
            for name in step_names(holder.pipeline, _name)]


def _name(step: Any) -> str:
    args = vars(step).get('backend_args') if hasattr(step, '__dict__') else None
    backend = args.get('backend') if isinstance(args, dict) else None
    return f'{name_of(step)}({backend})' if backend else name_of(step)


def cache_of(dataset: Any) -> Cache:
    """The cache that a dataset's transforms read through, themselves or by their backend."""
    found: list[Cache] = []

    def look(step: Any) -> str:
        args = vars(step).get('backend_args') if hasattr(step, '__dict__') else None
        if hasattr(type(step), 'cache_now'):
            found.append(step.cache_now())
        elif isinstance(args, dict) and args.get('backend') == 'cached':
            found.append(get_file_backend('', backend_args=args,
                                          enable_singleton=True).cache_now())
        return ''

    for holder in holders(dataset):
        step_names(holder.pipeline, look)
    return strongest(iter(found))


def holders(dataset: Any) -> Iterator[Any]:
    """The datasets with a pipeline, through any nesting; those inside first, as in a sample."""
    yield from _holders(dataset, set())


def _holders(node: Any, seen: set[int]) -> Iterator[Any]:
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, (list, tuple)):
        for item in node:
            yield from _holders(item, seen)
        return
    for name in ('dataset', 'datasets'):
        yield from _holders(getattr(node, name, None), seen)
    if getattr(node, 'pipeline', None) is not None:
        yield node


def _prepare(step: Any) -> str:
    """The kind of a transform; what it reads goes through a `TimedBackend` from here on."""
    settings = vars(step) if hasattr(step, '__dict__') else {}
    args = settings.get('backend_args', step)
    if hasattr(type(step), 'read_through'):
        step.read_through(_timed)
    elif (args is None or isinstance(args, dict)) and settings.get('file_client_args') is None:
        step.backend_args = _timed(args)
    return 'decoding' if _loads_images(step) else 'transform'


def _timed(args: dict[str, Any] | None) -> dict[str, Any]:
    return dict(backend=_NAME, inner=None if args is None else dict(args))


def _loads_images(step: Any) -> bool:
    """Whether a transform's own time, without its reading, is that of decoding images."""
    return any(base.__name__.startswith('Load') and 'Image' in base.__name__
               for base in inspect.getmro(type(step)))
