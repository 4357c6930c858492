"""Finding datasets, pipelines and transforms in a dataset that is built."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmcv.transforms import BaseTransform, Compose
from torch.utils.data import Dataset

__all__ = ['hidden', 'parts']

_NAMES = ('dataset', 'datasets', 'pipeline', 'transforms')


def parts(node: Any, seen: dict[int, Any] | None = None) -> Iterator[Any]:
    """Every dataset, pipeline and transform below a node, through any nesting.

    Args:
        node: A dataset, a wrapper (``.dataset``, ``.datasets``), a transform or a list.
        seen: The objects met so far, by id.
    """
    seen = {} if seen is None else seen
    if node is None or isinstance(node, (str, bytes)) or id(node) in seen:
        return
    seen[id(node)] = node
    if isinstance(node, (list, tuple)):
        for item in node:
            yield from parts(item, seen)
        return
    yield node
    for name in _NAMES:
        yield from parts(getattr(node, name, None), seen)
    for value in getattr(node, '__dict__', {}).values():
        first = value[0] if isinstance(value, (list, tuple)) and value else value
        if _may_hold(first):
            yield from parts(value, seen)


def _may_hold(value: Any) -> bool:
    """Whether an attribute under any name is a dataset or a transform."""
    return isinstance(value, (Dataset, BaseTransform, Compose)) or (
        hasattr(value, '__getitem__') and hasattr(value, 'dataset'))


def hidden(dataset: Any) -> str:
    """A clause that names the datasets in which no pipeline can be seen, or an empty string."""
    names = [type(node).__name__ for node in parts(dataset)
             if hasattr(node, '__getitem__') and hasattr(node, '__len__')
             and not any(getattr(node, name, None) is not None for name in _NAMES)]
    return f'; no pipeline can be seen in {", ".join(dict.fromkeys(names))}' if names else ''
