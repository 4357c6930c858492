"""A cache that is full says so, with what it keeps, and corrects itself."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest

from tricks_plugin.tricks.data_cache import state
from tricks_plugin.tricks.data_cache.folder import planned_budget
from tricks_plugin.tricks.data_cache.keeper import Keeper
from tricks_plugin.tricks.data_cache.keys import rank_of
from tricks_plugin.tricks.data_cache.stamps import Stamp
from tricks_plugin.tricks.data_cache.store import Store

pytestmark = pytest.mark.slow

PAGE = 4096


def named(rank):
    """A name whose rank is a share of the whole range."""
    return f'{int(rank * 2 ** 64):016x}'.ljust(32, '0')


def read(keeper, *ranks, size=10):
    """Reads files of these ranks, of a page each by default."""
    for rank in ranks:
        keeper.fetch(named(rank), lambda: Stamp(1, 1, 1), lambda: bytes(size))


def shares(said):
    return [line.split('which is some ')[1].split(' ')[0] for line in said]


def test_a_full_budget_is_said_once_a_run_and_again_in_the_next(cache_folder, monkeypatch):
    said = []
    folder = dict(folder=cache_folder, budget_mb=3.5 * PAGE / 1e6, say=said.append)
    ranks = [0.5, 0.6, 0.7, 0.8, 0.9]
    read(Keeper(**folder), *ranks[:3])
    assert said == []
    for _ in range(2):
        for rank in ranks:
            read(Keeper(**folder), rank)  # as many processes would
    kept = f'{cache_folder} is full: it keeps 3 files, 0.0123 MB of 0.0143 MB, which is some '
    line = (f'data_cache: the budget of {kept}80% of the files asked for so far; the others are '
            'read from their source each time')
    assert said == [line]
    monkeypatch.setattr('tricks_plugin.tricks.data_cache.counts._started', lambda process: 'later')
    read(Keeper(**folder), *ranks)
    assert said == [line, line]


def test_it_is_said_again_when_half_of_what_was_said_is_left_once_over_all_processes(cache_folder):
    said = []
    keepers = [Keeper(cache_folder, 2.5 * PAGE / 1e6, said.append) for _ in range(3)]
    for keeper in keepers:
        read(keeper, 0.9, 0.95, 0.99)
    assert shares(said) == ['99%']
    for keeper, rank in zip(keepers, (0.8, 0.6, 0.5), strict=True):
        read(keeper, rank)
    assert shares(said) == ['99%']  # 80 %
    read(keepers[1], 0.4)  # 0.4 and 0.5 are kept, 0.6 is not
    for keeper in keepers:
        read(keeper, 0.45)  # from 0.5 on nothing is
    assert shares(said) == ['99%']
    for keeper in keepers:
        read(keeper, 0.1, 0.2, 0.49)  # from 0.4 on
    assert shares(said) == ['99%', '45%']
    for keeper in (*keepers, Keeper(cache_folder, 2.5 * PAGE / 1e6, said.append)):
        read(keeper, 0.01, 0.3)
    assert shares(said) == ['99%', '45%', '20%']


def test_a_limit_of_zero_is_said_once_as_well(cache_folder):
    said = []
    keeper = Keeper(cache_folder, 1, said.append)
    state.save(keeper.open()._state, state.State(budget=10 ** 6, limit=0))
    read(keeper, 0.5, 0.6)
    assert shares(said) == ['0%']
    assert len(list(Path(cache_folder, 'counts').glob('*.full*'))) == 1


def test_a_full_file_system_keeps_the_smallest_ranks_and_says_so(cache_folder, monkeypatch):
    said, disk = [], [2.5 * PAGE]

    def free(fd):
        return int(disk[0]) - PAGE * len(list(Path(cache_folder).glob('??/*')))

    monkeypatch.setattr('tricks_plugin.tricks.data_cache.store.free_bytes', free)
    for order in ((0.3, 0.1, 0.4, 0.2), (0.1, 0.2, 0.3, 0.4), (0.4, 0.3, 0.2, 0.1)):
        keeper = Keeper(cache_folder, 1, said.append)
        read(keeper, *order)
        assert {path.name for path in Path(cache_folder).glob('??/*')} == {named(.1), named(.2)}
        assert keeper.open().limit == rank_of(named(0.3))
        keeper.open().clear()
    assert '0.00819 MB of 1 MB (its file system leaves it 0.0102 MB), which is some 40%' in said[0]
    # Others take all: what is there stays. When they have gone, a later opening finds room.
    read(keeper, 0.1, 0.2)
    disk[0] = 0
    read(keeper, 0.05, 0.3)
    assert keeper.open().usage().entries == 2
    disk[0] = 100 * PAGE
    read(Keeper(cache_folder, 1, said.append), 0.3, 0.4)
    assert keeper.open().usage().entries == 4 and keeper.open().usage().share == 1


def test_a_file_larger_than_all_is_said_once_and_drops_nothing(cache_folder):
    said = []
    for _ in range(2):
        keeper = Keeper(cache_folder, 2 * PAGE / 1e6, said.append)
        read(keeper, 0.8, 0.9)
        read(keeper, 0.1, 0.2, size=3 * PAGE)
    assert said == [f'data_cache: a file of 0.0123 MB is larger than all of {cache_folder}, '
                    '0.00819 MB, and is read from its source each time, as any such file is']
    assert keeper.open().usage().entries == 2 and keeper.open().usage().share == 1


def test_a_default_budget_is_taken_anew_where_it_would_be_larger_and_by_clearing(
        cache_folder, monkeypatch):
    free, folder = [0], 'tricks_plugin.tricks.data_cache.folder.'
    monkeypatch.setattr(folder + 'free_bytes', lambda fd: free[0])
    monkeypatch.setattr(folder + 'available_memory', lambda: None)
    store = Store(cache_folder)
    assert store.usage().budget == 1  # the file system was full
    for found, budget in ((100 * PAGE, 50), (80 * PAGE, 50), (120 * PAGE, 50), (130 * PAGE, 65)):
        free[0] = found
        assert planned_budget(cache_folder) == budget * PAGE
        assert Store(cache_folder).usage().budget == budget * PAGE
    # What the entries themselves take is theirs: half of 126 and 4 free pages.
    for rank in (0.1, 0.2, 0.3, 0.4):
        assert store.put(named(rank), bytes(16), b'x')
    free[0] = 126 * PAGE
    assert Store(cache_folder).usage().budget == 65 * PAGE
    free[0] = 20 * PAGE
    store.clear()
    assert store.usage().budget == Store(cache_folder).usage().budget == 10 * PAGE
    # One that is named stays, through clearing too.
    assert Store(cache_folder, 5 * PAGE).usage().budget == 5 * PAGE
    free[0] = 100 * PAGE
    store.clear()
    assert Store(cache_folder).usage().budget == planned_budget(cache_folder) == 5 * PAGE


def test_a_state_of_before_is_read_as_a_budget_that_was_named(tmp_path):
    body = struct.pack('<8sB7xQQ16s', b'TPSTATE1', 0, 7, 9, (2 ** 64).to_bytes(16, 'little'))
    (tmp_path / 'state').write_bytes(body + struct.pack('<I', zlib.crc32(body)))
    with open(tmp_path / 'state', 'r+b') as file:
        assert state.load(file.fileno()) == state.State(7, 9, 2 ** 64)
        for now in (state.State(1, 2, 3, True, True), state.State(1, 2, 3, False, True)):
            state.save(file.fileno(), now)
            assert state.load(file.fileno()) == now
