"""One room per trick, found by looking into this folder. Importing it needs no mmengine or torch.

A room is a package whose import registers its `Trick`; ``COMPONENTS`` in it names the classes
that it registers with mmengine, and the module of the room that holds each.
"""

from __future__ import annotations

import importlib
import pkgutil

from ..plan import TRICKS, Params, Trick, Verdict, bounded

__all__ = ['COMPONENTS', 'TRICKS', 'Params', 'Trick', 'Verdict', 'bounded', 'rooms']


def rooms() -> list[str]:
    """The names of the rooms, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg)


COMPONENTS: dict[str, str] = {}
"""The module of every registered component, by its class name."""

for _room in rooms():
    _found = importlib.import_module(f'{__name__}.{_room}')
    for _name, _module in getattr(_found, 'COMPONENTS', {}).items():
        if _name in COMPONENTS:
            raise KeyError(f'component {_name} is in {COMPONENTS[_name]} and in {_room}')
        COMPONENTS[_name] = f'{_found.__name__}.{_module}'
