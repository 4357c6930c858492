"""What keeps files for many processes at once, while some of them are killed: libraries, and ours.

    python benchmarks/storage.py [--processes 16] [--rounds 6] [--seconds 2]
    pip install --target DIR diskcache lmdb zarr; python benchmarks/storage.py --libs DIR

In each round, processes begin at once on an empty folder and read files of random bytes through it,
in a random order: from the folder where it has them, else from their source, and then they put
them there. One after the other gets SIGKILL at a random time, and another takes its place. In every
second round the budget is half of the files, in the others four times as much as they need.

- wrong reads: bytes that are not the source's, while the round runs, and of all files after it;
- died: by an exception or a signal that nobody sent; hung: still there 15 s after the end;
- size: the most that the folder's blocks took on disk, to the budget of half;
- lost: files that some process was told are kept, in rounds with room for all, and that a new
  process does not find when the round is over and the source is away.

Then one bit of a kept file is flipped on disk, or its half cut off, and a new process reads it.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from storage_stores import STORES, write_files

FORK = multiprocessing.get_context('fork')
GOOD, MISSING, WRONG, RAISED, ENDED = range(5)
PATIENCE = 15.0  # seconds
SEEN = ('not read', 'noticed', 'given to the reader', 'the read raises', 'the reader dies')


@dataclasses.dataclass
class Result:
    """What was seen of a store."""
    reads: int = 0
    wrong: int = 0
    started: int = 0
    killed: int = 0
    hung: int = 0
    died: Counter[str] = dataclasses.field(default_factory=Counter)
    size: float = 0.0
    kept: int = 0
    lost: int = 0
    damage: dict[str, str] = dataclasses.field(default_factory=dict)


class Round:
    """Processes on one store in a folder; adds to a result.

    The budget is in bytes; the paths are the files of the source, in one folder.
    """

    def __init__(self, store: Any, folder: str, paths: list[str], budget: int, processes: int,
                 result: Result) -> None:
        self.store, self.folder, self.paths, self.budget = store, folder, paths, budget
        self.values = [Path(path).read_bytes() for path in paths]
        self.result = result
        # Bare memory: a process that is killed while it holds a lock would stop the others.
        self.ended = FORK.RawValue('b', 0)
        self.counts = FORK.RawArray('q', 2 * processes)
        self.kept, self.seen = (FORK.RawArray('b', len(paths)) for _ in range(2))
        self.errors = [FORK.RawArray('c', 80) for _ in range(processes)]

    def _begin(self, slot: int) -> Any:
        self.result.started += 1
        process = FORK.Process(target=self._work, args=(slot, self.result.started), daemon=True)
        process.start()
        return process

    def _work(self, slot: int, seed: int) -> None:
        try:
            store, draw = self.store(self.folder, self.budget), random.Random(seed)
            while not self.ended.value:
                key = draw.randrange(len(self.paths))
                data, kept = store.read(self.paths[key])
                self.counts[2 * slot] += 1
                self.counts[2 * slot + 1] += data != self.values[key]
                self.kept[key] |= bool(kept)
        except BaseException as error:  # whatever a library raises
            self.errors[slot].value = type(error).__name__.encode()[:79]
            os._exit(1)
        os._exit(0)

    def run(self, seconds: float, draw: random.Random) -> None:
        """Kills one after the other until the time is over, then looks at what is left."""
        running = [self._begin(slot) for slot in range(len(self.errors))]
        end, largest, killed, begun = time.monotonic() + seconds, 0, 0, self.result.started
        while time.monotonic() < end or self.result.started == begun:
            time.sleep(draw.uniform(0.02, 0.15))
            largest = max(largest, on_disk(self.folder))
            slot = draw.randrange(len(running))
            running[slot].kill()
            killed += self._ended(slot, running[slot])
            running[slot] = self._begin(slot)
        self.ended.value, patience = 1, time.monotonic() + PATIENCE
        for slot, process in enumerate(running):
            process.join(max(patience - time.monotonic(), 0.01))
            process.kill()
            self.result.hung += self._ended(slot, process)
        self.result.killed += killed
        self.result.reads += sum(self.counts[::2])
        self.result.wrong += sum(self.counts[1::2])
        self._judge(max(largest, on_disk(self.folder)))

    def _ended(self, slot: int, process: Any) -> bool:
        """Notes how a process ended; whether that was by SIGKILL."""
        process.join()
        killed = process.exitcode == -signal.SIGKILL
        if process.exitcode and not killed:
            self.result.died[self.errors[slot].value.decode() if process.exitcode > 0
                             else signal.Signals(-process.exitcode).name] += 1
        return bool(killed)

    def _judge(self, largest: int) -> None:
        found, need = self.look(), sum(map(len, self.values))
        self.result.reads += found.count(GOOD) + found.count(WRONG)
        self.result.wrong += found.count(WRONG)
        if self.budget < need:
            self.result.size = max(self.result.size, largest / self.budget)
        else:
            self.result.kept += sum(self.kept)
            self.result.lost += sum(kept and state != GOOD for kept, state in zip(
                self.kept, found, strict=True))

    def look(self) -> list[int]:
        """What a new process gets of every file while the source is away."""
        source = os.path.dirname(self.paths[0])
        self.seen[:] = [ENDED] * len(self.paths)
        os.rename(source, f'{source}.away')
        process = FORK.Process(target=self._look, daemon=True)
        process.start()
        process.join(60)
        process.kill()
        process.join()
        os.rename(f'{source}.away', source)
        return list(self.seen)

    def _look(self) -> None:
        store = self.store(self.folder, self.budget)
        for key, path in enumerate(self.paths):
            try:
                right = store.read(path)[0] == self.values[key]
                self.seen[key] = GOOD if right else WRONG
            except FileNotFoundError:
                self.seen[key] = MISSING
            except Exception:  # whatever a library raises
                self.seen[key] = RAISED

    def damage(self, cut: bool) -> str:
        """Flips a bit of a file that is kept, or cuts its half off; what the reader then gets."""
        for file in sorted(Path(self.folder).rglob('*'), key=lambda one: -one.lstat().st_size):
            data = file.read_bytes() if file.is_file() else b''
            good = [key for key, state in enumerate(self.seen) if state == GOOD]
            for key in good if len(data) >= len(self.values[0]) else []:
                place = data.find(self.values[key][len(self.values[key]) // 2:][:64])
                if place < 0:
                    continue
                if cut:
                    os.truncate(file, len(data) // 2)
                else:
                    file.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1:])
                found = self.look()
                return SEEN[ENDED if ENDED in found else found[key]]
        return 'nothing is kept'


def on_disk(folder: str) -> int:
    """The bytes of the blocks below a folder."""
    total = 0
    for path in (os.path.join(place, name) for place, _, names in os.walk(folder)
                 for name in names):
        with contextlib.suppress(OSError):
            total += os.lstat(path).st_blocks * 512
    return total


def trial(store: Any, paths: list[str], args: argparse.Namespace) -> Result:
    """All rounds of a store, and the damage; in folders of their own."""
    result, draw, need = Result(), random.Random(0), sum(map(os.path.getsize, paths))
    for number in range(args.rounds):
        with tempfile.TemporaryDirectory(dir=args.folder, prefix='tricks_storage_') as root:
            one = Round(store, f'{root}/store', paths, 4 * need if number % 2 else need // 2,
                        args.processes, result)
            one.run(args.seconds, draw)
            if number % 2 and number < 4:
                result.damage['cut' if number == 1 else 'bit'] = one.damage(number == 1)
    return result


def row(name: str, store: Any, result: Result) -> str:
    """A line of the table."""
    died = ', '.join(f'{count} {error}' for error, count in result.died.items())
    size = f'{result.size:.2f}' if store.bounded else f'{result.size:.2f}, no budget'
    return (f'| {name} | {result.wrong} of {result.reads} | {died or 0}; {result.hung}; '
            f'{result.killed} of {result.started} | {size} | {result.lost} of {result.kept} | '
            f'{result.damage.get("bit", "")} | {result.damage.get("cut", "")} |')


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--libs', metavar='DIR', help='a folder that holds the libraries')
    parser.add_argument('--processes', type=int, default=16)
    parser.add_argument('--rounds', type=int, default=6, help='an even number, at least 4')
    parser.add_argument('--seconds', type=float, default=2.0, help='of each round')
    parser.add_argument('--files', type=int, default=400, help='of 100 kB each')
    parser.add_argument('--folder', default='/dev/shm', help='where the stores lie')
    args = parser.parse_args()
    if args.rounds < 4 or args.rounds % 2 or min(args.processes, args.files) < 1:
        parser.error('--rounds must be even and >= 4, --processes and --files >= 1')
    return args


def main() -> None:
    args = parse()
    sys.path += [args.libs] if args.libs else []
    print(f'{args.processes} processes, {args.files} files of 100 kB, {args.rounds} rounds of '
          f'{args.seconds:g} s\n\n| store | wrong reads | died; hung; killed of those begun | '
          'size to the budget | lost of those kept | one flipped bit | a file cut short |')
    print('| --- | --- | --- | --- | --- | --- | --- |')
    root = tempfile.mkdtemp(dir=args.folder, prefix='tricks_source_')
    try:
        paths = write_files(f'{root}/files', args.files)
        for name, store in STORES.items():
            try:
                for module in store.modules:
                    importlib.import_module(module)
            except ImportError as error:
                print(f'| {name} | not here: {error} | | | | | |', flush=True)
                continue
            print(row(name, store, trial(store, paths, args)), flush=True)
    finally:
        shutil.rmtree(root)


if __name__ == '__main__':
    main()
