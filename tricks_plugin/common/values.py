"""How many entries a value of any form has: what tells values per box from those of an image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

__all__ = ['counts', 'entries']

_LOOKED = 8  # items of a list: more tell nothing new
_DEPTH = 2
_ARRAYS = (np.ndarray, torch.Tensor)


def entries(value: Any) -> int | None:
    """How many entries a value has, or None if it is no sequence.

    A dict has as many as all of its values, if they agree.
    """
    if value is None or isinstance(value, (str, bytes)):
        return None
    if isinstance(value, Mapping):
        found = {entries(item) for item in value.values()}
        return found.pop() if len(found) == 1 else None
    if isinstance(value, _ARRAYS):
        return int(value.shape[0]) if value.ndim else None
    try:
        return len(value)
    except TypeError:
        return None


def counts(value: Any, depth: int = 0) -> set[int]:
    """The numbers of entries of a value and of what lies in it, in lists, dicts or attributes.

    Args:
        value: Any.
        depth: How deep it lies itself.
    """
    own = entries(value)
    found = set() if own is None else {own}
    if depth >= _DEPTH or isinstance(value, (*_ARRAYS, str, bytes)):
        return found
    if isinstance(value, (list, tuple)):
        inner = [item for item in value[:_LOOKED] if not isinstance(item, (int, float, str))]
    elif isinstance(value, Mapping):
        inner = list(value.values())
    else:
        inner = list(getattr(value, '__dict__', {}).values()) if own is None else []
    return found.union(*(counts(item, depth + 1) for item in inner))
