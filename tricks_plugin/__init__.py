"""The bag of training tricks, as registered parts and config edits for mmdet, mmengine and timm.

Names are imported on first use, so that `tricks_plugin.functional` needs NumPy and torch only.
"""

from __future__ import annotations

import importlib
from typing import Any

from .plan.errors import TrickError as TrickError
from .version import __version__ as __version__

_API = {
    'apply_tricks': 'tricks_plugin.mm.apply',
    'recipe': 'tricks_plugin.plan.recipes',
    'Plan': 'tricks_plugin.plan',
    'TRICKS': 'tricks_plugin.plan',
    'Trick': 'tricks_plugin.plan',
    'Verdict': 'tricks_plugin.plan',
    'TricksRunner': 'tricks_plugin.mm.runner',
    'TrickEvidenceHook': 'tricks_plugin.mm.evidence_hook',
    'TimmBackbone': 'tricks_plugin.mm.timm_backbone',
}


def _components() -> dict[str, str]:
    """The rooms' registered classes and where they are."""
    from .tricks import COMPONENTS
    return COMPONENTS


def __getattr__(name: str) -> Any:
    if name == 'functional':
        return importlib.import_module('tricks_plugin.functional')
    if name == '__all__':
        return __dir__()
    where = _API.get(name) or (None if name.startswith('_') else _components().get(name))
    if where is None:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    value = getattr(importlib.import_module(where), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({'TrickError', '__version__', 'functional', *_API, *_components()})
