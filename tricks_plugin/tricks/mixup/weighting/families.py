"""Which head families' losses can be weighted per box, by the names of mmdet's classes.

Names alone, so that a plan can tell without building a model. A class that derives from one of
them, a user's own too, belongs to the first one in its method resolution order.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .base import HeadAdapter

__all__ = ['FAMILIES', 'family_of', 'load_adapter']

# Class name -> 'module:Adapter' in this package, or None: trained on mixed images, unweighted.
FAMILIES: dict[str, str | None] = {
    'YOLOV3Head': 'yolov3:YOLOV3Adapter',
    'DETRHead': 'detr:DETRAdapter',
    'DDQDETRHead': 'detr:DDQAdapter',
    'MaskFormerHead': 'maskformer:MaskFormerAdapter',
    'Mask2FormerTrackHead': None,  # videos, whose frames cannot be mixed
}


def family_of(kind: type) -> str | None:
    """The name of the family that a class belongs to; None if it is of none.

    Args:
        kind: A head's class.
    """
    return next((name for name in _mmdet_names(kind) if name in FAMILIES), None)


def load_adapter(kind: type) -> type[HeadAdapter] | None:
    """The adapter of a head's class; None where its losses cannot be weighted."""
    family = family_of(kind)
    place = FAMILIES[family] if family else None
    if place is None:
        return None
    module, _, name = place.partition(':')
    return getattr(importlib.import_module(f'.{module}', __package__), name)


def _mmdet_names(kind: type) -> Iterable[str]:
    return (base.__name__ for base in kind.__mro__ if base.__module__.startswith('mmdet.'))
