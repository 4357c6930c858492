"""Where the package's configs lie."""

from __future__ import annotations

from pathlib import Path

__all__ = ['config_folder']

_PACKAGE = Path(__file__).resolve().parents[1]


def config_folder(name: str) -> Path:
    """A folder of the package's configs: in a wheel under .mim, in a checkout beside the package.

    Args:
        name: Such as ``recipes``.

    Raises:
        FileNotFoundError: If the package was installed without it.
    """
    for base in (_PACKAGE / '.mim', _PACKAGE.parent):
        folder = base / 'configs' / name
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f'tricks_plugin at {_PACKAGE} was installed without its configs')
