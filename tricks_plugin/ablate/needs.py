"""What an ablation needs beside a trainer."""

from __future__ import annotations

import importlib.util

from ..plan.errors import TrickError

__all__ = ['require']


def require() -> None:
    """Checks that the libraries of the report are there, before anything is trained.

    Raises:
        TrickError: If one is missing.
    """
    missing = [name for name in ('jinja2', 'matplotlib', 'scipy')
               if importlib.util.find_spec(name) is None]
    if missing:
        raise TrickError(f'the report of an ablation needs {", ".join(missing)}, not installed '
                         "here: pip install 'tricks_plugin[ablate]'")
