"""Entries that a process has found right once: read without a check, mapped, and let go."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from tricks_plugin.tricks.data_cache import checked, entries
from tricks_plugin.tricks.data_cache import keeper as keeper_module
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


@pytest.fixture()
def filled(cache_folder, tmp_path):
    """Fetches arrays of three files, the third when the first two are old; the keeper."""
    if not is_tmpfs(os.path.dirname(cache_folder)):
        pytest.skip('there is no tmpfs to write to')
    source = tmp_path / 'source'
    source.write_text('of all')
    time.sleep(OLD)  # or the first fetch waits for it

    def fetch(keeper, number):
        return keeper.fetch(named(number / 10), lambda: stamp_of_file(source),
                            lambda: array(number))
    return Keeper(cache_folder, 1), fetch


def test_a_writer_checks_and_maps_what_it_wrote_while_the_cache_fills(filled, sums, monkeypatch):
    keeper, fetch = filled
    monkeypatch.setattr(keeper_module, '_SETTLED', 1e9)  # nothing is old yet
    for number in (1, 2):
        fetch(keeper, number)
    store = keeper.open()
    assert maps_of(store) == [] and len(sums) == 2  # of the entries that were written
    time.sleep(OLD)
    for number in (3, 4):  # each miss looks back at one
        monkeypatch.setattr(keeper_module, '_SETTLED', 0)
        fetch(keeper, number)
    assert len(maps_of(store)) == 2 and len(sums) == 4 + 2
    # So the second epoch checks nothing of these; nobody has asked for them meanwhile.
    assert keeper.counted()['hits'] == 0
    for number in (1, 2):
        assert np.array_equal(fetch(keeper, number), array(number))
    assert len(sums) == 4 + 2 and keeper.counted()['hits'] == 2


def test_a_writer_checks_its_bytes_too(cache_folder, tmp_path, sums, monkeypatch):
    monkeypatch.setattr(keeper_module, '_SETTLED', OLD)
    source = tmp_path / 'source'
    source.write_text('of all')
    time.sleep(OLD)
    keeper = Keeper(cache_folder, 1)
    for number, rest in ((1, 1.5 * OLD), (2, 0)):
        keeper.fetch(named(number / 10), lambda: stamp_of_file(source),
                     lambda number=number: b'%d' % number * 1000)
        time.sleep(rest)
    assert len(sums) == 2 + 1
    for _ in range(2):
        assert keeper.fetch(named(0.1), lambda: stamp_of_file(source), None) == b'1' * 1000
    assert len(sums) == 2 + 1


def test_what_is_damaged_before_its_writer_looks_back_is_dropped(filled, caplog):
    keeper, fetch = filled
    fetch(keeper, 1)
    store = keeper.open()
    time.sleep(1.5 * OLD)
    flip(place(store, 0.1))
    time.sleep(1.5 * OLD)
    assert np.array_equal(fetch(keeper, 2), array(2))
    assert not place(store, 0.1).exists() and 'was dropped' in caplog.text
    assert keeper.counted()['damaged'] == 1 and maps_of(store) == []
    assert np.array_equal(fetch(keeper, 1), array(1))


def test_a_child_looks_back_at_nothing_of_its_parent_s(filled):
    keeper, fetch = filled
    fetch(keeper, 1)
    assert len(keeper._written) == 1
    assert not pickle.loads(pickle.dumps(keeper))._written
    answer = FORK.Queue()
    child = FORK.Process(target=lambda: answer.put((keeper.open() is None,
                                                    len(keeper._written))))
    child.start()
    assert answer.get(timeout=60) == (False, 0)
    child.join()


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


def test_processes_with_maps_of_entries_that_are_dropped_and_flipped(cache_folder, tmp_path):
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
        for damage in (lambda path: path.unlink(), flip) if found else ():
            with contextlib.suppress(FileNotFoundError):  # dropped by a reader meanwhile
                damage(draw.choice(found))
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
