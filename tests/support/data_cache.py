"""Small files, JPEGs, and a folder for a cache on the node's tmpfs."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest

from tricks_plugin.tricks.data_cache.keeper import Keeper
from tricks_plugin.tricks.data_cache.keys import entry_name
from tricks_plugin.tricks.data_cache.stamps import stamp_of_file

__all__ = ['cache_folder', 'fetch', 'name_of', 'write_files', 'write_jpegs']


@pytest.fixture()
def cache_folder():
    """A path that is not there yet; gone after the test."""
    shared = '/dev/shm' if os.access('/dev/shm', os.W_OK) else None
    root = tempfile.mkdtemp(prefix='tricks_test_', dir=shared)
    yield str(Path(root) / 'cache')
    shutil.rmtree(root)


def write_files(folder: Path, count: int, size: int = 3000) -> list[str]:
    """Files of random bytes, of sizes that differ."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, paths = np.random.default_rng(0), []
    for number in range(count):
        path = folder / f'{number:04d}.bin'
        path.write_bytes(rng.bytes(size + 37 * number))
        paths.append(str(path))
    return paths


def write_jpegs(folder: Path, count: int, side: int = 40) -> list[str]:
    """JPEGs of random pixels, each of another width."""
    from PIL import Image
    folder.mkdir(parents=True, exist_ok=True)
    rng, paths = np.random.default_rng(1), []
    for number in range(count):
        pixels = rng.integers(0, 255, (side, side + number, 3), dtype=np.uint8)
        path = folder / f'{number:03d}.jpg'
        Image.fromarray(pixels).save(path)
        paths.append(str(path))
    return paths


def name_of(path: str) -> str:
    """The name under which `fetch` keeps a file."""
    return entry_name('test', path)


def fetch(keeper: Keeper, path: str) -> bytes:
    """A file's bytes through a cache."""
    return keeper.fetch(name_of(path), lambda: stamp_of_file(path),
                        lambda: Path(path).read_bytes())
