"""The benchmark of stores sees what goes wrong in one, and nothing in ours."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture()
def storage(root, monkeypatch):
    """The benchmark as a module."""
    monkeypatch.syspath_prepend(str(root / 'benchmarks'))
    monkeypatch.delitem(sys.modules, 'storage_stores', raising=False)
    spec = importlib.util.spec_from_file_location(
        'storage_benchmark', root / 'benchmarks/storage.py')
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, 'storage_benchmark', module)  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def tried(storage, store, tmp_path, rounds=2, seconds=0.0):
    paths = storage.write_files(str(tmp_path / 'files'), 20, 6000)
    return storage.trial(store, paths, argparse.Namespace(
        rounds=rounds, seconds=seconds, processes=2, folder=None))


def test_ours_reads_right_within_its_budget_and_loses_nothing(storage, tmp_path):
    import tricks_plugin.tricks.data_cache.store  # noqa: F401  as the command: before the fork
    found = tried(storage, storage.STORES['data_cache'], tmp_path, rounds=4, seconds=0.3)
    assert (found.wrong, found.hung, found.lost, dict(found.died)) == (0, 0, 0, {})
    assert found.killed >= 4 and found.started == found.killed + 8  # one a round, and two at once
    assert found.reads > 0 and found.kept > 0
    # 60 kB: seven entries of two pages; the lock, the state and the counts are not in it
    assert found.size <= 1 + 4 * 4096 / 60_000
    assert found.damage == {'cut': 'noticed', 'bit': 'noticed'}
    line = storage.row('ours', storage.STORES['data_cache'], found)
    assert line.startswith(f'| ours | 0 of {found.reads} | 0; 0; {found.killed} of ')


class Bad:
    """Keeps nothing of what it says, and takes much room; once it is wrong, and once it ends."""

    bounded = False

    def __init__(self, folder, budget):
        os.makedirs(folder, exist_ok=True)
        Path(folder, 'much').write_bytes(bytes(300_000))
        self.reads = 0

    def read(self, path):
        self.reads += 1
        if self.reads == 3:
            raise KeyError(path)
        return Path(path).read_bytes() + b'x' * (self.reads == 2), True


class Stuck(Bad):
    """Is never there."""

    def __init__(self, folder, budget):
        super().__init__(folder, budget)
        time.sleep(100)


def test_what_goes_wrong_is_seen(storage, tmp_path):
    found = tried(storage, Bad, tmp_path, seconds=0.3)
    # Each process that was not killed before read twice, and ended at the third.
    assert found.wrong >= found.died['KeyError'] > 0 and set(found.died) == {'KeyError'}
    assert found.lost == found.kept > 0 and found.hung == 0
    assert found.size >= 300_000 / 60_000
    assert 'no budget' in storage.row('bad', Bad, found)


def test_processes_that_hang_are_counted(storage, tmp_path, monkeypatch):
    monkeypatch.setattr(storage, 'PATIENCE', 0.2)
    paths = storage.write_files(str(tmp_path / 'files'), 2, 100)
    found = storage.Result()
    one = storage.Round(Stuck, str(tmp_path / 'store'), paths, 100, 2, found)
    monkeypatch.setattr(one, 'look', lambda: [storage.MISSING] * 2)
    one.run(0.0, storage.random.Random(0))
    assert found.hung == 2 and found.killed == 1 and found.started == 3
