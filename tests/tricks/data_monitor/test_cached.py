"""What the monitor measures and says of a training that reads through a cache."""

from __future__ import annotations

import time

import pytest
from mmengine.dataset import Compose, pseudo_collate
from support.data_monitor import SLOW, ImageFiles

from tricks_plugin.common.sample_times import measure
from tricks_plugin.common.waiting.cache import Cache
from tricks_plugin.mm.sample_times import cache_of, instrument
from tricks_plugin.tricks.data_cache.loader import LoadCachedImage

pytestmark = pytest.mark.slow

SLEEPING = dict(backend='sleeping')


@pytest.mark.parametrize('level', ['encoded', 'decoded'])
def test_reading_a_slow_source_through_the_loader_is_reading(
        images, tmp_path, cache_folder, level):
    load = LoadCachedImage(level=level, folder=cache_folder, budget_mb=5, backend_args=SLEEPING)
    dataset = ImageFiles(data_root=str(images), pipeline=[])
    dataset.pipeline = Compose([load])
    paths = [info['img_path'] for info in dataset.load_data_list()]
    names = [load.name_of(path) for path in paths]
    assert cache_of(dataset) == Cache(level)
    times = measure(dataset, [[0, 1, 2, 3]], pseudo_collate, instrument)
    # Sample 0 was read once before; the three others sleep in their source.
    assert times.of_kind('reading') >= 0.75 * SLOW > times.of_kind('decoding')
    assert [load.name_of(path) for path in paths] == names
    assert cache_of(dataset) == Cache(level, filling=True)
    begin = time.perf_counter()
    dataset[3]
    assert time.perf_counter() - begin < SLOW


def test_the_cache_of_a_backend_is_seen_and_whether_it_is_full(
        images, cache_folder):
    args = dict(backend='cached', inner=SLEEPING, folder=cache_folder, budget_mb=3 * 4096 / 1e6)
    dataset = ImageFiles(data_root=str(images), pipeline=[
        dict(type='LoadImageFromFile', backend_args=args)])
    assert cache_of(dataset) == Cache('encoded')
    for index in range(4):
        dataset[index]
    assert cache_of(dataset) == Cache('encoded', full=True, filling=True)
