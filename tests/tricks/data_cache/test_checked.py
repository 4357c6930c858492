"""Entries that a process has found right once: read without a check, mapped, and let go."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tricks_plugin.tricks.data_cache import checked, entries
from tricks_plugin.tricks.data_cache.entries import DamagedError
from tricks_plugin.tricks.data_cache.files import Files
from tricks_plugin.tricks.data_cache.folder import is_tmpfs
from tricks_plugin.tricks.data_cache.keeper import Keeper
from tricks_plugin.tricks.data_cache.stamps import stamp_of_file
from tricks_plugin.tricks.data_cache.store import Store

pytestmark = pytest.mark.slow

STAMP = b'0123456789abcdef'
OLD = 0.03  # seconds after which a change shows
FORK = multiprocessing.get_context('fork')


def named(rank):
    return f'{int(rank * 2 ** 64):016x}'.ljust(32, '0')


def array(number, size=5000):
    return np.random.default_rng(number).integers(0, 256, (size // 10, 10), dtype=np.uint8)


def place(store, rank):
    return Path(store.path, named(rank)[:2], named(rank))


def maps_of(store):
    """The lines of this process's maps that lie in the folder."""
    return [line for line in Path('/proc/self/maps').read_text().splitlines()
            if store.path in line]


@pytest.fixture()
def store(cache_folder):
    """A folder on tmpfs with two arrays and some bytes, found right by this process."""
    found = Store(cache_folder, 10 ** 6)
    if not is_tmpfs(cache_folder):
        pytest.skip('there is no tmpfs to write to')
    for number in (1, 2):
        assert found.put(named(number / 10), STAMP, array(number))
    assert found.put(named(0.5), STAMP, b'bytes' * 1000)
    time.sleep(OLD)
    for rank in (0.1, 0.2, 0.5):
        assert found.get(named(rank), STAMP) is not None
    return found


@pytest.fixture()
def sums(monkeypatch):
    """How many checksums were computed."""
    count = []
    monkeypatch.setattr(entries, 'word_checksum', lambda data, real=entries.word_checksum: (
        count.append(1), real(data))[1])
    return count


def test_what_was_found_right_is_not_checked_again(store, sums):
    for _ in range(2):
        assert np.array_equal(store.get(named(0.1), STAMP), array(1))
        assert store.get(named(0.5), STAMP) == b'bytes' * 1000
    assert sums == []
    # Another process, as which a second look at the folder stands, checks for itself.
    Store(store.path).get(named(0.1), STAMP)
    assert len(sums) == 1


def test_arrays_are_mapped_without_a_descriptor_and_bytes_are_not(store):
    assert len(maps_of(store)) == 2
    before = len(os.listdir('/proc/self/fd'))
    assert store.put(named(0.3), STAMP, array(3))
    time.sleep(OLD)
    store.get(named(0.3), STAMP)
    assert len(maps_of(store)) == 3 and len(os.listdir('/proc/self/fd')) == before


def test_what_a_reader_writes_stays_with_it(store):
    for _ in range(2):
        found = store.get(named(0.1), STAMP)
        assert found.flags.writeable and found.flags.owndata and np.array_equal(found, array(1))
        found[:] = 0


def flip(path):
    with open(path, 'r+b') as file:
        file.seek(3000)
        byte = file.read(1)
        file.seek(3000)
        file.write(bytes([byte[0] ^ 4]))


@pytest.mark.parametrize('rank', [0.1, 0.5])
@pytest.mark.parametrize('damage', [
    flip, lambda path: os.truncate(path, 200), lambda path: os.truncate(path, 0),
    lambda path: os.truncate(path, 9000)], ids=['flip', 'cut', 'emptied', 'grown'])
def test_damage_after_the_check_is_found_at_the_next_read(store, rank, damage):
    # A map of what is cut off would end this process.
    damage(place(store, rank))
    with pytest.raises(DamagedError):
        store.get(named(rank), STAMP)
    assert not place(store, rank).exists()
    assert store.get(named(rank), STAMP) is None
    assert len(maps_of(store)) == (1 if rank == 0.1 else 2)


@pytest.mark.parametrize('rank', [0.1, 0.5])
def test_damage_between_the_look_at_the_file_and_the_read_is_found(store, rank, monkeypatch):
    looked, real = [], {'stat': Files.stat, 'payload': entries.payload}

    def stat(files, name):
        found = real['stat'](files, name)
        if rank == 0.1 and not looked:
            looked.append(flip(place(store, rank)))
        return found

    def payload(fd, header, check=True):
        if rank == 0.5 and not looked:
            looked.append(flip(place(store, rank)))
        return real['payload'](fd, header, check)

    monkeypatch.setattr(Files, 'stat', stat)
    monkeypatch.setattr(entries, 'payload', payload)
    with pytest.raises(DamagedError):
        store.get(named(rank), STAMP)
    assert len(looked) == 1


@pytest.mark.parametrize('value', [array(1), b'bytes' * 1000], ids=['array', 'bytes'])
def test_a_process_that_sleeps_after_its_first_read_does_not_trust_a_young_file(
        cache_folder, value, monkeypatch):
    store, real = Store(cache_folder, 10 ** 6), entries.payload
    assert store.put(named(0.1), STAMP, value)

    def payload(fd, header, check=True):
        found = real(fd, header, check)
        flip(place(store, 0.1))  # mostly within the tick of the file's last change
        time.sleep(OLD)
        return found

    monkeypatch.setattr(entries, 'payload', payload)
    # The clock of a file system that ticks every 10 ms; new kernels have a finer one.
    monkeypatch.setattr(checked, '_state', lambda found: (
        found.st_ino, found.st_size, found.st_ctime_ns // 10_000_000))
    os.utime(place(store, 0.1))
    assert np.array_equal(store.get(named(0.1), STAMP), value)
    monkeypatch.setattr(entries, 'payload', real)
    with pytest.raises(DamagedError):
        store.get(named(0.1), STAMP)


def test_another_file_in_an_entry_s_place_is_seen(store):
    other = Store(store.path)
    assert other.put(named(0.1), b'f' * 16, array(7))
    assert store.get(named(0.1), STAMP) is None
    assert np.array_equal(store.get(named(0.1), b'f' * 16), array(7))


def test_what_is_dropped_is_let_go_by_the_next_read_of_a_map(store):
    assert len(maps_of(store)) == 2
    Store(store.path).clear()
    assert store.get(named(0.1), STAMP) is None
    assert maps_of(store) == []


def test_a_file_that_has_just_changed_is_checked_again(cache_folder, sums):
    store = Store(cache_folder, 10 ** 6)
    store.put(named(0.1), STAMP, array(1))
    os.utime(place(store, 0.1))
    store.get(named(0.1), STAMP)
    before = len(sums)
    time.sleep(OLD)
    store.get(named(0.1), STAMP)
    assert len(sums) == before + 1
    store.get(named(0.1), STAMP)
    assert len(sums) == before + 1


def test_beyond_the_limits_entries_are_read_as_before(cache_folder, monkeypatch, sums):
    monkeypatch.setattr(checked, '_MAPS', 1)
    monkeypatch.setattr(checked, '_MOST', 2)
    store = Store(cache_folder, 10 ** 6)
    for number in (1, 2, 3):
        store.put(named(number / 10), STAMP, array(number))
    time.sleep(OLD)
    del sums[:]
    for _ in range(3):
        for number in (1, 2, 3):
            assert np.array_equal(store.get(named(number / 10), STAMP), array(number))
    # Two are noted at their first read; the third is checked at each of its three.
    assert len(sums) == 5
    assert len(maps_of(store)) == (1 if is_tmpfs(cache_folder) else 0)


def test_on_a_disk_nothing_is_mapped(tmp_path, monkeypatch):
    monkeypatch.setattr('tricks_plugin.tricks.data_cache.store.is_tmpfs', lambda path: False)
    store = Store(str(tmp_path / 'cache'), 10 ** 6)
    store.put(named(0.1), STAMP, array(1))
    time.sleep(OLD)
    for _ in range(3):
        assert np.array_equal(store.get(named(0.1), STAMP), array(1))
    assert maps_of(store) == []


# The end is told by a bare byte: a process killed while it asks an Event keeps its lock for ever.
def reader(folder, paths, seed, ended, wrong):
    """Reads arrays at random until it is told to stop; says which came back wrong."""
    keeper, draw = Keeper(folder, 0.2), random.Random(seed)
    while not ended.value:
        path = draw.choice(paths)
        before = Path(path).read_text()
        found = keeper.fetch(named(int(Path(path).stem) / 64), lambda path=path: stamp_of_file(
            path), lambda path=path: array(int(Path(path).read_text()), 6000))
        # The source may have been replaced between two looks at it.
        if not any(np.array_equal(found, array(int(number), 6000))
                   for number in (before, Path(path).read_text())):
            wrong.put(path)


def test_processes_with_maps_of_entries_that_are_dropped_and_replaced(cache_folder, tmp_path):
    paths, ended, wrong, draw = [], FORK.RawValue('b', 0), FORK.Queue(), random.Random(0)
    for number in range(40):  # some 60 % of them fit
        paths.append(str(tmp_path / f'{number}.txt'))
        Path(paths[-1]).write_text(str(number))

    def begin(seed):
        process = FORK.Process(target=reader, args=(cache_folder, paths, seed, ended, wrong))
        process.start()
        return process

    running = [begin(seed) for seed in range(4)]
    for turn in range(24):
        time.sleep(draw.uniform(0.01, 0.04))
        path = draw.choice(paths)
        other = tmp_path / 'draft'
        other.write_text(str(100 + turn))
        os.replace(other, path)
        found = list(Path(cache_folder).glob('??/*'))
        if found:
            draw.choice(found).unlink(missing_ok=True)
        if turn % 6 == 5:
            victim = running.pop(0)
            victim.kill()
            victim.join()
            assert victim.exitcode == -signal.SIGKILL
            running.append(begin(10 + turn))
    ended.value = 1
    for process in running:
        process.join(60)
        assert process.exitcode == 0
    assert wrong.empty()
