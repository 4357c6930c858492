"""What mmengine imports by itself when a config says ``type='tricks_plugin.NAME'``.

Importing this module registers every component under its plain name too.
"""

from __future__ import annotations

import importlib

from . import COMPONENTS
from .tricks import TRICKS

__all__ = ['TRICKS']

for _module in sorted(set(COMPONENTS.values())):
    importlib.import_module(_module)
TRICKS.load_entry_points()
