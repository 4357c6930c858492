"""The evidence says what share came from the cache, and says no where none does."""

from __future__ import annotations

import multiprocessing
import os
import types

import pytest
from support.data_cache import fetch, write_files
from torch.utils.data import DataLoader, Dataset

from tricks_plugin.tricks.data_cache import counts
from tricks_plugin.tricks.data_cache.evidence import CacheEvidence
from tricks_plugin.tricks.data_cache.keeper import Keeper

pytestmark = pytest.mark.slow

LENGTH = 4


class Watched:
    """A measurement in a training of epochs of four iterations, each of which reads a file."""

    def __init__(self, folder, level='encoded'):
        self.evidence = CacheEvidence(level, folder)
        self.view = types.SimpleNamespace(iteration=0, epoch=0, epoch_length=LENGTH)
        self.evidence.start(self.view)

    def run(self, reads):
        """One iteration for each function in a list; None reads nothing."""
        for read in reads:
            if read is not None:
                read()
            self.view.epoch = self.view.iteration // LENGTH
            self.evidence.after_iteration(self.view)
            found = self.evidence.finding(self.view)
            self.view.iteration += 1
        return found


@pytest.fixture()
def files(cache_folder, tmp_path):
    """Functions that read four files through the cache."""
    keeper = Keeper(cache_folder, 10)
    return [lambda path=path: fetch(keeper, path) for path in write_files(tmp_path, 4)]


def test_the_first_epoch_is_too_early_and_the_second_is_live(cache_folder, files):
    watched = Watched(cache_folder)
    found = watched.run(files)
    assert found.live is None and found.values['misses'] == 4
    found = watched.run(files)
    assert found.live is True
    assert found.measured.startswith('50% of the latest 8 reads came from the cache, 4 of 8 in all')
    assert 'it holds 4 files, 0.0164 MB of 10 MB' in found.measured
    assert found.planned == 'images from the cache (encoded)'
    found = watched.run(files)
    assert found.values['share'] == 1.0  # since the begin of the epoch before
    assert found.measured.startswith('100% of the latest ') and '8 of 12 in all' in found.measured


def test_what_an_earlier_run_of_this_process_counted_is_left_out(cache_folder, files):
    for read in files * 3:
        read()
    found = Watched(cache_folder).run(files)
    assert (found.values['hits'], found.values['misses']) == (4, 0) and found.live is True


def test_a_cache_that_is_never_asked_is_dead(cache_folder, files):
    found = Watched(cache_folder).run([None])
    assert found.live is False and found.measured == 'the cache was never asked'


def test_a_cache_that_is_not_asked_any_more_after_a_good_start_is_dead(cache_folder, files):
    watched = Watched(cache_folder)
    assert watched.run(files * 2).live is True
    found = watched.run([None] * 8)
    assert found.live is False and found.measured == 'the cache is not asked any more'


def test_a_cache_that_keeps_nothing_is_dead_after_an_epoch(cache_folder, files, monkeypatch):
    monkeypatch.setattr('tricks_plugin.tricks.data_cache.store.Store.put',
                        lambda self, *args: (_ for _ in ()).throw(OSError('no')))
    watched = Watched(cache_folder)
    assert watched.run(files).live is None
    found = watched.run(files)
    assert found.live is False and '8 errors of the cache, answered by the source' in found.measured


def test_a_cache_whose_entries_are_lost_after_a_good_start_is_dead(cache_folder, files):
    watched = Watched(cache_folder)
    assert watched.run(files * 2).live is True
    for _ in range(3):
        for read in files:
            Keeper(cache_folder).open().clear()
            found = watched.run([read])
    assert found.live is False and found.measured.startswith('0% of the latest')


def test_a_folder_that_is_refused_is_dead_and_says_why(tmp_path):
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full' / 'x').write_text('x')
    found = Watched(str(tmp_path / 'full')).run([None])
    assert found.live is False and 'is not empty and holds no cache' in found.measured


def test_a_full_cache_tells_which_share_fits(cache_folder, tmp_path):
    keeper = Keeper(cache_folder, 0.02)  # two of four files of a page and some
    reads = [lambda path=path: fetch(keeper, path) for path in write_files(tmp_path, 4, 5000)]
    found = Watched(cache_folder).run(reads * 3)
    assert found.live is True and found.values['entries'] == 2
    assert f'full: {found.values["fits"]:.0%} of the set fits' in found.measured


class Reads(Dataset):
    """Functions that read, called in a worker."""

    def __init__(self, reads):
        self.reads = reads

    def __len__(self):
        return len(self.reads)

    def __getitem__(self, index):
        self.reads[index]()
        return index


def train(files, times):
    """Data loaders with two workers, as many as epochs."""
    for _ in range(times):
        assert len(list(DataLoader(Reads(files), num_workers=2,
                                   multiprocessing_context='fork'))) == len(files)


def test_a_training_that_is_a_process_of_somebody_sees_its_workers_counts(cache_folder, files):
    def run():
        evidence = CacheEvidence('encoded', cache_folder)
        view = types.SimpleNamespace(iteration=0, epoch=0, epoch_length=LENGTH)
        evidence.start(view)
        train(files, 2)
        found = evidence.finding(view)
        os._exit(0 if (found.live, found.values['hits'], found.values['misses']) == (True, 4, 4)
                 else 1)

    process = multiprocessing.get_context('fork').Process(target=run)
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert Keeper(cache_folder).counted()['hits'] == 0  # the launcher's own


def test_counts_of_worker_processes_are_those_of_their_run(cache_folder, files):
    train(files, 5)
    keeper = Keeper(cache_folder)
    found = keeper.counted()
    assert (found['hits'], found['misses'], found['stored']) == (16, 4, 4)
    # Another run's counts are its own.
    folder = keeper.open().dir
    os.rename(f'counts/{counts._run()}', 'counts/1', src_dir_fd=folder, dst_dir_fd=folder)
    assert counts.totals(folder)['hits'] == 0
