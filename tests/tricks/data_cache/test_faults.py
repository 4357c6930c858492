"""Many processes on one cache while some are killed and its files are damaged; full disks."""

from __future__ import annotations

import errno
import multiprocessing
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from support.data_cache import fetch, name_of, write_files

from tricks_plugin.tricks.data_cache import files, state
from tricks_plugin.tricks.data_cache.folder import FolderRefusedError
from tricks_plugin.tricks.data_cache.keeper import Keeper
from tricks_plugin.tricks.data_cache.store import Store

pytestmark = pytest.mark.slow

PAGE = 4096
FORK = multiprocessing.get_context('fork')


def on_disk(folder):
    return sum(-(-path.stat().st_size // PAGE) * PAGE for path in Path(folder).glob('??/*'))


# The end is told by a bare byte: a process killed while it asks an Event keeps its lock for ever.
def reader(folder, budget, paths, seed, ended, wrong):
    """Reads at random until it is told to stop; says which path came back wrong."""
    keeper, draw = Keeper(folder, budget), random.Random(seed)
    while not ended.value:
        path = draw.choice(paths)
        if fetch(keeper, path) != Path(path).read_bytes():
            wrong.put(path)


def damage(folder, draw):
    """Cuts short, grows or flips a bit of any file of the cache, its state and draft included."""
    found = [path for path in Path(folder).rglob('*') if path.is_file()]
    if not found:
        return
    path = draw.choice(found)
    try:
        size = path.stat().st_size
        if draw.random() < 0.5:
            os.truncate(path, draw.choice([0, size // 2, max(size - 1, 0), size + 5]))
        elif size:
            with open(path, 'r+b') as file:
                file.seek(draw.randrange(size))
                byte = file.read(1)
                file.seek(-1, os.SEEK_CUR)
                file.write(bytes([byte[0] ^ 1 << draw.randrange(8)]))
    except FileNotFoundError:
        pass


def test_eight_processes_some_killed_some_entries_damaged_every_read_is_right(
        cache_folder, tmp_path):
    paths, wrong = write_files(tmp_path, 40, 6000), FORK.Queue()
    ended, draw = FORK.RawValue('b', 0), random.Random(0)
    # Some 60 % of the set fits.
    start = [cache_folder, 0.2, paths]

    def begin(seed):
        process = FORK.Process(target=reader, args=(*start, seed, ended, wrong), daemon=True)
        process.start()
        return process

    running, killed = [begin(seed) for seed in range(8)], 0
    while killed < 12:
        time.sleep(draw.uniform(0.005, 0.05))
        if Path(cache_folder, 'state').exists():
            damage(cache_folder, draw)
        if draw.random() < 0.2:
            victim = draw.randrange(8)
            running[victim].kill()
            running[victim].join()
            assert running[victim].exitcode == -signal.SIGKILL
            killed += 1
            running[victim] = begin(100 + killed)
    ended.value = 1
    for process in running:
        process.join(60)
        assert process.exitcode == 0
    assert wrong.empty()
    # Left alone, the cache is whole again after two looks at every file, within its budget.
    keeper = Keeper(cache_folder, 0.2)
    for _ in range(2):
        assert [fetch(keeper, path) for path in paths] == [Path(p).read_bytes() for p in paths]
    before = keeper.counted()
    for path in paths:
        fetch(keeper, path)
    after = keeper.counted()
    assert after['damaged'] == before['damaged'] and after['hits'] - before['hits'] > 15
    assert on_disk(cache_folder) <= 200_000


def test_the_part_that_is_kept_is_the_same_whoever_came_first(cache_folder, tmp_path):
    paths, kept = write_files(tmp_path, 30, 6000), []
    for run in range(2):
        folder, wrong = f'{cache_folder}{run}', FORK.Queue()
        running = [FORK.Process(target=once, args=(folder, 0.12, paths, 10 * run + seed))
                   for seed in range(8)]
        for process in running:
            process.start()
        for process in running:
            process.join(60)
            assert process.exitcode == 0
        assert wrong.empty()
        kept.append({path.name for path in Path(folder).glob('??/*')})
        assert on_disk(folder) <= 120_000
    # Each file takes two pages: 14 fit 120000 bytes.
    assert kept[0] == kept[1] == set(sorted(map(name_of, paths))[:14])


def once(folder, budget, paths, seed):
    """One epoch in an order of its own."""
    keeper, order = Keeper(folder, budget), paths[:]
    random.Random(seed).shuffle(order)
    for path in order:
        assert fetch(keeper, path) == Path(path).read_bytes()


def dying(folder, paths, step):
    """Stores files, and is killed at its ``step``-th call of the system that writes."""
    left = [step]

    def counted(call):
        def mortal(*args, **kwargs):
            left[0] -= 1
            if left[0] < 0:
                if call is os_write:
                    call(args[0], args[1][:len(args[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **kwargs)
        return mortal

    os_write = os.write
    keeper = Keeper(folder, 0.025)
    keeper.open()
    for name in ('write', 'pwrite', 'rename', 'unlink', 'mkdir'):
        setattr(os, name, counted(getattr(os, name)))
    for path in paths:
        fetch(keeper, path)
    os._exit(0)


def test_a_process_killed_at_any_step_leaves_nothing_that_is_trusted(cache_folder, tmp_path):
    # Three entries of two pages fit 25000 bytes, so that some are dropped for others.
    paths, step, ended = write_files(tmp_path, 6, 5000), 0, None
    while ended != 0:
        folder = f'{cache_folder}{step}'
        child = FORK.Process(target=dying, args=(folder, paths, step))
        child.start()
        child.join()
        ended = child.exitcode
        assert ended in (0, -signal.SIGKILL)
        keeper = Keeper(folder, 0.025)
        for path in paths[::-1]:
            assert fetch(keeper, path) == Path(path).read_bytes()
        assert on_disk(folder) <= 25_000
        assert keeper.open().usage().used == on_disk(folder)
        assert {path.name for path in Path(folder).glob('??/*')} == set(
            sorted(map(name_of, paths))[:3])
        step += 1
    assert step > 30


def test_a_stopped_writer_stops_nobody_else(cache_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(state, '_PATIENCE', 0.2)
    (path,) = write_files(tmp_path, 1)
    store, held = Store(cache_folder, 10 ** 6), Store(cache_folder)
    keeper = Keeper(cache_folder, 1)
    assert keeper.open() is not None and store is not held
    with held._lock.held() as mine:
        assert mine
        assert fetch(keeper, path) == Path(path).read_bytes()
    assert keeper.counted()['stored'] == 0
    assert fetch(keeper, path) == Path(path).read_bytes()
    assert keeper.counted()['stored'] == 1


@pytest.mark.skipif(os.geteuid() != 0, reason='only root mounts')
def test_a_disk_that_is_full_costs_the_cache_and_nothing_else(tmp_path):
    small, paths = tmp_path / 'small', write_files(tmp_path / 'images', 30, 90_000)
    small.mkdir()
    mounted = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', str(small)],
                             capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip('no tmpfs can be mounted here')
    try:
        keeper = Keeper(str(small / 'cache'), 100)
        for _ in range(2):
            for path in paths:
                assert fetch(keeper, path) == Path(path).read_bytes()
        # A tenth of the disk is left to others.
        assert on_disk(small / 'cache') <= 0.9 * 2 ** 20
        assert keeper.counted()['hits'] > 5
        (small / 'other').write_bytes(bytes(os.statvfs(small).f_bavail * PAGE))
        for path in paths:
            assert fetch(keeper, path) == Path(path).read_bytes()
        fresh = Keeper(str(small / 'fresh'), 100)
        assert fetch(fresh, paths[0]) == Path(paths[0]).read_bytes()
    finally:
        subprocess.run(['umount', '-l', str(small)], check=True)


def test_a_write_that_finds_no_space_leaves_no_draft(cache_folder, tmp_path, monkeypatch, caplog):
    keeper, paths = Keeper(cache_folder, 10), write_files(tmp_path, 3)
    fetch(keeper, paths[0])

    def full(fd, data, write=os.write):
        if len(data) > 500:
            write(fd, data[:500])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, data)

    monkeypatch.setattr(files.os, 'write', full)
    for _ in range(2):
        assert [fetch(keeper, path) for path in paths] == [Path(p).read_bytes() for p in paths]
    monkeypatch.undo()
    assert not Path(cache_folder, 'draft').exists()
    assert keeper.counted()['failed'] == 4
    assert sum('No space left' in record.message for record in caplog.records) == 1
    assert state.load(keeper.open()._state).used == on_disk(cache_folder) == PAGE
    assert fetch(keeper, paths[1]) == Path(paths[1]).read_bytes()
    assert keeper.counted()['stored'] == 2


def test_a_folder_that_goes_away_and_one_that_cannot_be_made(cache_folder, tmp_path, caplog):
    import shutil
    keeper, (path, other) = Keeper(cache_folder, 10), write_files(tmp_path, 2)
    fetch(keeper, path)
    shutil.rmtree(cache_folder)
    assert [fetch(keeper, one) for one in (path, other)] == [
        Path(one).read_bytes() for one in (path, other)]
    below = Keeper(str(Path(path) / 'cache'))
    assert fetch(below, other) == Path(other).read_bytes()
    assert 'cannot be used' in caplog.text
    with pytest.raises((FolderRefusedError, NotADirectoryError, FileExistsError)):
        Store(str(Path(path) / 'cache'))
