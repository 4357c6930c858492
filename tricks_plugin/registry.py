"""What mmengine imports by itself when a config says ``type='tricks_plugin.NAME'``.

Importing this module registers every component under its plain name too.
"""

from __future__ import annotations

import importlib

from .mm import evidence_hook, runner, timm_backbone  # noqa: F401
from .plan import TRICKS
from .tricks import COMPONENTS

__all__ = ['TRICKS']

for _module in sorted(set(COMPONENTS.values())):
    importlib.import_module(_module)
TRICKS.load()
