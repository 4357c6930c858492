"""The tricks by name: those of the package's rooms, and those of other installed packages."""

from __future__ import annotations

import importlib
import importlib.metadata

from .errors import TrickError, nearest
from .trick import Trick

__all__ = ['TRICKS', 'TrickRegistry']

_ENTRY_POINTS = 'tricks_plugin.tricks'
_ROOMS = 'tricks_plugin.tricks'


class TrickRegistry:
    """Tricks by name. Not an mmengine Registry, since timm users have no mmengine."""

    def __init__(self) -> None:
        self._tricks: dict[str, type[Trick]] = {}
        self._loaded = False

    def register(self, trick: type[Trick]) -> type[Trick]:
        """Class decorator that adds a trick.

        Raises:
            TypeError: If a class attribute of the contract is missing.
            KeyError: If another class holds the name.
        """
        missing = [key for key in ('name', 'title', 'paper', 'order', 'evidence')
                   if not hasattr(trick, key)]
        if missing:
            raise TypeError(f'{trick.__name__} lacks {", ".join(missing)}')
        holder = self._tricks.setdefault(trick.name, trick)
        if holder is not trick:
            raise KeyError(f'trick {trick.name!r} is registered already, by {holder.__module__}')
        return trick

    def unregister(self, name: str) -> None:
        """Removes a trick, for tests that register a toy."""
        del self._tricks[name]

    def load(self) -> None:
        """Imports the package's rooms, and the tricks of other installed packages, once.

        Each entry point of the group ``tricks_plugin.tricks`` names a module, or a Trick class,
        whose import registers the trick.
        """
        if self._loaded:
            return
        self._loaded = True  # the rooms' own imports ask again
        try:
            importlib.import_module(_ROOMS)
            for point in importlib.metadata.entry_points(group=_ENTRY_POINTS):
                point.load()
        except BaseException:
            self._loaded = False
            raise

    def get(self, name: str, path: str = 'tricks') -> type[Trick]:
        """The trick of a name.

        Raises:
            TrickError: If there is none; names the nearest.
        """
        self.load()
        if name not in self._tricks:
            raise TrickError(f'{path}: unknown trick {name!r}{nearest(name, self._tricks)}')
        return self._tricks[name]

    def in_order(self) -> list[type[Trick]]:
        """Every trick, in the order in which they are applied."""
        self.load()
        return sorted(self._tricks.values(), key=lambda trick: (trick.order, trick.name))

    def __contains__(self, name: object) -> bool:
        self.load()
        return name in self._tricks


TRICKS = TrickRegistry()
