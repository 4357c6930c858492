"""One process and its cache: what is kept, which part of a set, and what is refused."""

from __future__ import annotations

import os
import random
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
from support.data_cache import fetch, name_of, write_files

from tricks_plugin.tricks.data_cache.entries import DamagedError
from tricks_plugin.tricks.data_cache.folder import FolderRefusedError
from tricks_plugin.tricks.data_cache.keeper import Keeper
from tricks_plugin.tricks.data_cache.keys import entry_name, rank_of, word_checksum
from tricks_plugin.tricks.data_cache.stamps import Stamp
from tricks_plugin.tricks.data_cache.store import Store

pytestmark = pytest.mark.slow

STAMP = b'0123456789abcdef'
PAGE = 4096


def named(rank):
    """A name whose rank is a share of the whole range."""
    return f'{int(rank * 2 ** 64):016x}'.ljust(32, '0')


def kept(store, ranks):
    return [rank for rank in ranks if store.get(named(rank), STAMP) is not None]


def on_disk(folder):
    return sum(-(-path.stat().st_size // PAGE) * PAGE for path in Path(folder).glob('??/*'))


def test_bytes_and_arrays_come_back_as_they_were(cache_folder):
    store = Store(cache_folder, 10 ** 7)
    values = [b'', b'x', bytes(range(256)) * 50, np.arange(60, dtype=np.uint8).reshape(4, 5, 3),
              np.arange(6, dtype=np.float32).reshape(3, 2)[:, ::-1], np.zeros((0, 3), np.int16),
              np.array(2.5)]
    for number, value in enumerate(values):
        assert store.put(named(number / 10), STAMP, value)
    for number, value in enumerate(values):
        found = store.get(named(number / 10), STAMP)
        assert type(found) is type(value)
        if isinstance(value, bytes):
            assert found == value
        else:
            assert found.dtype == value.dtype and found.shape == value.shape
            assert np.array_equal(found, value) and found.flags.writeable
    assert store.get(named(0.1), b'another state...') is None
    assert store.get(named(0.95), STAMP) is None


@pytest.mark.parametrize('value', [np.zeros((1,) * 5), np.array([None]), np.zeros(2, '>f4')])
def test_what_no_entry_can_hold_is_refused(cache_folder, value):
    with pytest.raises(TypeError, match='no entry can hold'):
        Store(cache_folder, 10 ** 6).put(named(0.1), STAMP, value)


def test_the_smallest_ranks_are_kept_in_whatever_order_they_come(cache_folder):
    # Five entries of one page (128 bytes of header with 3000 of payload) fit 5.5 pages.
    ranks = [0.03, 0.11, 0.28, 0.42, 0.55, 0.68, 0.77, 0.91]
    for seed in range(4):
        order = ranks[:]
        random.Random(seed).shuffle(order)
        store = Store(f'{cache_folder}{seed}', int(5.5 * PAGE))
        for rank in order:
            store.put(named(rank), STAMP, bytes(3000))
            assert on_disk(store.path) <= 5.5 * PAGE
        assert kept(store, ranks) == [0.03, 0.11, 0.28, 0.42, 0.55], order
        assert store.usage().used == on_disk(store.path) == 5 * PAGE
        # What has been dropped is never taken again.
        assert not store.put(named(0.68), STAMP, bytes(10))
        assert store.usage().share == pytest.approx(0.68, abs=1e-9)


def test_a_file_beyond_the_budget_leaves_the_others_alone(cache_folder):
    store = Store(cache_folder, 3 * PAGE)
    assert not store.put(named(0.01), STAMP, bytes(4 * PAGE))
    assert store.put(named(0.9), STAMP, bytes(10))
    assert kept(store, [0.01, 0.9]) == [0.9]


def test_a_smaller_budget_drops_and_a_larger_one_takes_again(cache_folder):
    ranks = [0.1, 0.2, 0.3, 0.4]
    store = Store(cache_folder, 4 * PAGE)
    for rank in ranks:
        assert store.put(named(rank), STAMP, bytes(10))
    small = Store(cache_folder, 2 * PAGE)
    assert kept(small, ranks) == [0.1, 0.2]
    # The process that came first obeys as well.
    assert not store.put(named(0.3), STAMP, bytes(10))
    assert kept(Store(cache_folder), ranks) == [0.1, 0.2]
    large = Store(cache_folder, 3 * PAGE)
    assert large.put(named(0.3), STAMP, bytes(10))
    assert not large.put(named(0.4), STAMP, bytes(10))


def test_a_changed_source_replaces_its_entry(cache_folder):
    store = Store(cache_folder, 10 * PAGE)
    assert store.put(named(0.5), STAMP, bytes(3 * PAGE))
    assert store.put(named(0.5), b'f' * 16, b'new')
    assert store.get(named(0.5), b'f' * 16) == b'new'
    assert store.get(named(0.5), STAMP) is None
    assert store.usage().used == PAGE == on_disk(cache_folder)


def test_clearing_drops_everything_and_fills_again(cache_folder):
    store = Store(cache_folder, 2 * PAGE)
    for rank in (0.1, 0.2, 0.3):
        store.put(named(rank), STAMP, b'x')
    assert store.clear().entries == 2
    assert store.usage().entries == 0 and store.usage().share == 1
    assert store.put(named(0.3), STAMP, b'x')


@pytest.mark.parametrize('position', [0, 9, 40, 66, 100, 127, 128, 700, 4223, -1])
def test_one_flipped_bit_anywhere_is_found_and_the_entry_dropped(cache_folder, position):
    store, value = Store(cache_folder, 10 ** 6), np.random.default_rng(2).bytes(5000)
    for bit in (1, 128):
        assert store.put(named(0.3), STAMP, value)
        path = Path(cache_folder, named(0.3)[:2], named(0.3))
        data = bytearray(path.read_bytes())
        data[position] ^= bit
        path.write_bytes(data)
        with pytest.raises(DamagedError):
            store.get(named(0.3), STAMP)
        assert not path.exists() and store.usage().used == 0


@pytest.mark.parametrize('length', [0, 1, 127, 128, 129, 5127, 5129])
def test_a_file_cut_short_or_grown_is_found(cache_folder, length):
    store = Store(cache_folder, 10 ** 6)
    assert store.put(named(0.3), STAMP, bytes(range(250)) * 20)
    os.truncate(Path(cache_folder, named(0.3)[:2], named(0.3)), length)
    with pytest.raises(DamagedError):
        store.get(named(0.3), STAMP)


def test_the_entry_of_another_name_is_not_believed(cache_folder):
    store = Store(cache_folder, 10 ** 6)
    store.put(named(0.3), STAMP, b'right')
    other = Path(cache_folder, named(0.301)[:2], named(0.301))
    other.parent.mkdir(exist_ok=True)
    Path(cache_folder, named(0.3)[:2], named(0.3)).rename(other)
    with pytest.raises(DamagedError):
        store.get(named(0.301), STAMP)


def test_the_checksum_sees_words_pages_and_the_rest():
    data = np.random.default_rng(0).integers(0, 256, 3 * PAGE + 11, dtype=np.uint8)
    swapped = np.concatenate([data[PAGE:2 * PAGE], data[:PAGE], data[2 * PAGE:]])
    zeroed = data.copy()
    zeroed[PAGE:2 * PAGE] = 0
    tail = data.copy()
    tail[-1] ^= 4
    sums = [word_checksum(one) for one in (data, swapped, zeroed, tail, data[:-1])]
    assert len(set(sums)) == 5 and word_checksum(data.tobytes()) == sums[0]


def test_ranks_are_even_and_names_follow_from_the_key():
    ranks = [rank_of(entry_name('encoded', f'/images/{number}')) / 2 ** 64
             for number in range(4000)]
    counts, _ = np.histogram(ranks, 8, (0, 1))
    assert counts.min() > 400 and counts.max() < 600  # 500 each, of deviation 21
    assert entry_name('a', {'x': 1, 'y': 2}) == entry_name('a', {'y': 2, 'x': 1})
    assert entry_name('a', 'b') != entry_name('ab') != entry_name('a', 'b', None)


def test_the_folder_is_private_and_links_are_not_followed(cache_folder, tmp_path):
    Store(cache_folder)
    assert stat.S_IMODE(os.stat(cache_folder).st_mode) == 0o700
    for path in Path(cache_folder).iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    link = tmp_path / 'link'
    link.symlink_to(cache_folder)
    with pytest.raises(FolderRefusedError, match='symbolic link'):
        Store(str(link))
    full = tmp_path / 'full'
    full.mkdir()
    (full / 'thesis.tex').write_text('x')
    with pytest.raises(FolderRefusedError, match='is not empty and holds no cache'):
        Store(str(full))
    with pytest.raises(FolderRefusedError, match='no folder of its own'):
        Store(str(full / 'thesis.tex'))


def test_an_entry_that_is_a_link_is_not_followed(cache_folder, tmp_path):
    store = Store(cache_folder, 10 ** 6)
    assert store.put(named(0.3), STAMP, b'right')
    path = Path(cache_folder, named(0.3)[:2], named(0.3))
    shutil.move(path, tmp_path / 'moved')
    path.symlink_to(tmp_path / 'moved')
    with pytest.raises(OSError, match='[Ss]ymbolic'):
        store.get(named(0.3), STAMP)
    assert store.put(named(0.3), STAMP, b'right')
    assert (tmp_path / 'moved').exists() and store.get(named(0.3), STAMP) == b'right'


def test_an_empty_folder_is_made_private_and_one_open_to_others_refused(cache_folder):
    os.mkdir(cache_folder, 0o755)
    Store(cache_folder)
    assert stat.S_IMODE(os.stat(cache_folder).st_mode) == 0o700
    os.chmod(cache_folder, 0o777)
    with pytest.raises(FolderRefusedError, match=r'could be written by others \(mode 777\)'):
        Store(cache_folder)


@pytest.mark.skipif(os.geteuid() != 0, reason='only root gives files away')
def test_the_folder_of_somebody_else_is_refused_and_the_source_answers(
        cache_folder, tmp_path, caplog):
    os.mkdir(cache_folder, 0o777)
    os.chown(cache_folder, 12345, 12345)
    with pytest.raises(FolderRefusedError, match='belongs to user 12345, and this process is user'):
        Store(cache_folder)
    keeper, (path,) = Keeper(cache_folder), write_files(tmp_path, 1)
    assert [fetch(keeper, path) for _ in range(3)] == [Path(path).read_bytes()] * 3
    assert [r.message.count('belongs to user 12345') for r in caplog.records] == [1]
    assert os.listdir(cache_folder) == []


def test_reads_are_counted_and_a_changed_file_is_never_stale(cache_folder, tmp_path):
    keeper, paths = Keeper(cache_folder, 10), write_files(tmp_path, 6)
    for _ in range(3):
        for path in paths:
            assert fetch(keeper, path) == Path(path).read_bytes()
    counts = keeper.counted()
    assert (counts['hits'], counts['misses'], counts['stored']) == (12, 6, 6)
    size = sum(os.path.getsize(path) for path in paths)
    assert (counts['hit_bytes'], counts['missed_bytes']) == (2 * size, size)
    # The same size, and in the end the same time of modification: at once, and by a rename.
    before = os.stat(paths[0])
    for letter in b'abcdef':
        data = bytes([letter]) * before.st_size
        Path(paths[0]).write_bytes(data)
        os.utime(paths[0], ns=(before.st_atime_ns, before.st_mtime_ns))
        assert fetch(keeper, paths[0]) == data
    other = tmp_path / 'other'
    other.write_bytes(b'z' * before.st_size)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(other, paths[0])
    assert fetch(keeper, paths[0]) == b'z' * before.st_size


def test_a_file_that_changes_while_it_is_read_is_not_kept(cache_folder, tmp_path):
    keeper, states = Keeper(cache_folder, 10), iter([1, 2, 3, 4, 4, 4, 4])
    ask = [lambda: Stamp(1, next(states), 1), lambda: b'torn']
    for _ in range(2):
        assert keeper.fetch(named(0.4), *ask) == b'torn'
    assert keeper.open().usage().entries == 0
    assert keeper.fetch(named(0.4), *ask) == b'torn'
    assert keeper.open().usage().entries == 1


def test_what_the_source_raises_reaches_the_caller(cache_folder, tmp_path):
    keeper = Keeper(cache_folder, 10)
    with pytest.raises(FileNotFoundError):
        fetch(keeper, str(tmp_path / 'none'))
    with pytest.raises(IsADirectoryError):
        fetch(keeper, str(tmp_path))


@pytest.mark.parametrize(('arguments', 'error', 'words'), [
    (('x', 0), ValueError, 'budget_mb must be > 0, got 0'),
    (('x', -3.5), ValueError, 'got -3.5'), (('x', float('nan')), ValueError, 'got nan'),
    (('x', True), TypeError, 'budget_mb must be a number, got True'),
    ((3,), TypeError, 'folder must be a path, got 3')])
def test_wrong_settings_are_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        Keeper(*arguments)


def test_names_of_files_are_those_of_the_kit(cache_folder, tmp_path):
    keeper, (path,) = Keeper(cache_folder, 10), write_files(tmp_path, 1)
    fetch(keeper, path)
    assert Path(cache_folder, name_of(path)[:2], name_of(path)).is_file()
