"""timm's doors: the trainer, and the printer of recipes."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ['recipe', 'train']


def train(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Trains a classifier with timm's flags; see `tricks_plugin.timm.train`.

    Args:
        argv: The words after the program's name; by default the process's.
        prog: The program's name in messages.
    """
    from ..timm.train import main
    return main(argv)


def recipe(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Writes a recipe for timm's own script; without a name, lists them.

    Args:
        argv: The words after the program's name; by default the process's.
        prog: The program's name in messages.
    """
    from ..timm.__main__ import main
    return main(['recipe', *(argv or ['--help'])])
