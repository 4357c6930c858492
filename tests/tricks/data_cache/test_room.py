"""What is said to fit minds what the folder holds already, and that it has been full."""

from __future__ import annotations

import pytest
from support.data_cache import write_jpegs

from tricks_plugin.tricks.data_cache.images import Reader, sampled
from tricks_plugin.tricks.data_cache.keys import rank_of
from tricks_plugin.tricks.data_cache.loader import LoadCachedImage
from tricks_plugin.tricks.data_cache.store import Store
from tricks_plugin.tricks.data_cache.survey import Needs, Room, room_in, together

pytestmark = pytest.mark.slow

PAGE = 4096
LOADER = Reader('x', dict(type='LoadImageFromFile'), True, '')


def needs_of(paths, folder):
    return sampled(paths, LOADER, folder)


def load(paths, folder, pages):
    loader = LoadCachedImage(level='encoded', folder=folder, budget_mb=pages * PAGE / 1e6)
    for path in paths:
        loader.load(path)


def test_two_sets_one_after_the_other(cache_folder, tmp_path):
    first, second = (write_jpegs(tmp_path / name, 6) for name in 'ab')  # a page each, encoded
    pages = 10
    load(first, cache_folder, pages)
    room = room_in(cache_folder, None)
    assert (room.used, room.limit, room.budget) == (6 * PAGE, 1.0, pages * PAGE)
    # The first set lies there, and fits; of both, 10 of 12.
    mine = needs_of(first, cache_folder)
    assert mine.held == {'encoded': 1.0, 'decoded': 0.0}
    assert room.fits(mine, 'encoded') == 1 and room.words(mine, 'encoded').endswith(
        'encoded, all of it fits')
    other = needs_of(second, cache_folder)
    assert other.held['encoded'] == 0 and room.fits(other, 'encoded') == pytest.approx(10 / 12)
    assert room.words(other, 'encoded').endswith(
        'encoded, 83% of it fits, and the rest is read from the source (0.0246 MB of other entries '
        f'lie in it; tricks cache --folder {cache_folder} --clear empties it)')
    # Once it has been full it stays so until it is cleared, or gets a larger budget.
    load(second, cache_folder, pages)
    names = [LoadCachedImage(level='encoded')._source.known_by('encoded', path)[0]
             for path in (*first, *second)]
    eleventh = sorted(map(rank_of, names))[pages] / 2 ** 64
    assert room_in(cache_folder, None).limit == pytest.approx(eleventh)
    third = needs_of(write_jpegs(tmp_path / 'c', 2), cache_folder)
    assert room_in(cache_folder, None).fits(third, 'encoded') <= eleventh
    assert '--clear empties it' in room_in(cache_folder, None).words(third, 'encoded')
    assert room_in(cache_folder, 1).limit == 1
    Store(cache_folder).clear()
    assert room_in(cache_folder, None).fits(third, 'encoded') == 1


def test_the_share_by_hand():
    # 60 of others, who had 1/2 of what they wanted: 60 / (120 + 80) is 0.3.
    assert Room('x', 60, None, used=60, limit=0.5).share(80) == pytest.approx(0.3)
    # All that lies there is the set's own: 60 of 100 fit, but half of it is all that comes in.
    assert Room('x', 60, None, used=50, limit=0.5).share(100, held=0.5) == 0.5
    assert Room('x', 60, None, used=30).share(50) == pytest.approx(60 / 80)
    assert Room('x', 60, None, used=0, limit=0.0).share(50) == 0
    assert 'takes 50% of all files; tricks cache' in Room('x', 10 ** 6, None, 10, 0.5).words(
        Needs(1, 1, 5, 5, 1.0), 'encoded')


def test_sets_add_up():
    both = together([Needs(3, 3, 100, 300, 1.0, {'encoded': 1.0}),
                     Needs(1, 1, 300, 100, 5.0, {'encoded': 0.0})])
    assert (both.files, both.sampled, both.encoded, both.decoded) == (4, 4, 400, 400)
    assert both.decode_ms == 2.0 and both.held == {'encoded': 0.25, 'decoded': 0.0}
