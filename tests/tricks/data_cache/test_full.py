"""A cache that is full says so, with what it keeps, and corrects itself."""

from __future__ import annotations

import pytest

from tricks_plugin.tricks.data_cache.keeper import Keeper
from tricks_plugin.tricks.data_cache.stamps import Stamp

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
