"""The stores that `benchmarks/storage.py` looks at, each read through in the same way.

A store has the ``modules`` that it needs, which are imported before processes fork, and says in
``bounded`` whether it takes a budget. It is made with a folder and a budget in bytes; ``read``
gives the bytes of a file, and whether they are said to be kept.
"""

from __future__ import annotations

import contextlib
import os
import random
from pathlib import Path
from typing import Any

__all__ = ['STORES', 'write_files']


class Ours:
    """The store of `data_cache`."""

    modules, bounded = ('tricks_plugin.tricks.data_cache.store',), True

    def __init__(self, folder: str, budget: int) -> None:
        from tricks_plugin.tricks.data_cache.store import Store
        self.store = Store(folder, budget)

    def read(self, path: str) -> tuple[bytes, bool]:
        from tricks_plugin.tricks.data_cache.entries import DamagedError
        from tricks_plugin.tricks.data_cache.keys import entry_name
        name, stamp = entry_name('storage', path), bytes(16)
        with contextlib.suppress(DamagedError):
            found = self.store.get(name, stamp)
            if found is not None:
                return found, True
        data = Path(path).read_bytes()
        return data, self.store.put(name, stamp, data)


class Diskcache:
    """diskcache.Cache as it comes, with ``size_limit``."""

    modules, bounded = ('diskcache',), True

    def __init__(self, folder: str, budget: int) -> None:
        import diskcache
        self.cache = diskcache.Cache(folder, size_limit=budget)

    def read(self, path: str) -> tuple[bytes, bool]:
        found = self.cache.get(path)
        if found is not None:
            return found, True
        data = Path(path).read_bytes()
        return data, self.cache.set(path, data)


class Lmdb:
    """An lmdb environment with ``map_size``; a full one is read from."""

    modules, bounded = ('lmdb',), True

    def __init__(self, folder: str, budget: int) -> None:
        import lmdb
        self.full = lmdb.MapFullError
        self.env = lmdb.open(folder, map_size=budget // 4096 * 4096)
        self.env.reader_check()

    def read(self, path: str) -> tuple[bytes, bool]:
        with self.env.begin() as transaction:
            found = transaction.get(path.encode())
        if found is not None:
            return found, True
        data = Path(path).read_bytes()
        try:
            with self.env.begin(write=True) as transaction:
                transaction.put(path.encode(), data)
        except self.full:
            return data, False
        return data, True


class Fsspec:
    """fsspec's ``simplecache`` over local files."""

    modules, bounded = ('fsspec.implementations.cached', 'fsspec.implementations.local'), False
    kind = 'simplecache'

    def __init__(self, folder: str, budget: int) -> None:
        import fsspec
        self.system = fsspec.filesystem(self.kind, target_protocol='file', cache_storage=folder,
                                        skip_instance_cache=True)

    def read(self, path: str) -> tuple[bytes, bool]:
        with self.system.open(path, 'rb') as file:
            return file.read(), True


class FsspecFiles(Fsspec):
    """The same with ``filecache``."""

    kind = 'filecache'


class Zarr:
    """zarr's LocalStore."""

    modules, bounded = ('zarr.storage', 'zarr.core.sync'), False

    def __init__(self, folder: str, budget: int) -> None:
        from zarr.core.buffer import default_buffer_prototype
        from zarr.core.sync import sync
        from zarr.storage import LocalStore
        self.sync, self.form, self.store = sync, default_buffer_prototype(), LocalStore(folder)

    def read(self, path: str) -> tuple[bytes, bool]:
        name = os.path.basename(path)
        found = self.sync(self.store.get(name, self.form))
        if found is not None:
            return found.to_bytes(), True
        data = Path(path).read_bytes()
        self.sync(self.store.set(name, self.form.buffer.from_bytes(data)))
        return data, True


STORES: dict[str, Any] = {
    'data_cache': Ours, 'diskcache': Diskcache, 'lmdb': Lmdb, 'fsspec simplecache': Fsspec,
    'fsspec filecache': FsspecFiles, 'zarr LocalStore': Zarr}


def write_files(folder: str, count: int, size: int = 100_000) -> list[str]:
    """Files of random bytes."""
    draw, paths = random.Random(0), [f'{folder}/{number}' for number in range(count)]
    os.mkdir(folder)
    for path in paths:
        Path(path).write_bytes(draw.randbytes(size))
    return paths
