"""What a set of images needs at each level, measured on a sample, and what of it fits."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .files import cost
from .folder import available_memory, file_system, found_state, planned_budget, planned_space
from .keys import MAX_RANK

__all__ = ['Needs', 'Room', 'in_page_cache', 'measure', 'room_in', 'size', 'slow_source',
           'together']

_SAMPLE = 24
_NETWORK = ('nfs', 'cifs', 'smb', 'fuse', 'lustre', 'ceph', '9p', 'glusterfs', 'beegfs', 'gpfs',
            'afs')


@dataclasses.dataclass(frozen=True)
class Needs:
    """What a set needs of a cache's budget, extrapolated from a sample.

    Attributes:
        files: Files of the set.
        sampled: Files that were read for this.
        encoded: Bytes of the entries that keep all files: headers and whole pages are counted.
        decoded: Bytes of those that keep all of them as raw arrays.
        decode_ms: Milliseconds of one core to decode a file, the median of the sample.
        held: By level, the share of the sample that the cache's folder has already.
    """

    files: int
    sampled: int
    encoded: int
    decoded: int
    decode_ms: float
    held: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def at(self, level: str) -> int:
        """Bytes at a level."""
        return self.encoded if level == 'encoded' else self.decoded

    def words(self) -> str:
        """In a few words."""
        of = 'all read' if self.sampled == self.files else f'{self.sampled} of them measured'
        return (f'{self.files} files ({of}) need {size(self.encoded)} encoded and '
                f'{size(self.decoded)} decoded')


@dataclasses.dataclass(frozen=True)
class Room:
    """What a folder may hold.

    Attributes:
        folder: Where.
        budget: Bytes.
        space: Bytes that its file system has for it; None where that is not known.
        used: Bytes that lie in it already.
        limit: The share of all files that it takes since it was full; 1 while it was not.
    """

    folder: str
    budget: int
    space: int | None = None
    used: int = 0
    limit: float = 1.0

    @property
    def holds(self) -> int:
        """Bytes: the budget, or what the file system has where that is less."""
        return self.budget if self.space is None else min(self.budget, self.space)

    def share(self, needed: int, held: float = 0.0) -> float:
        """The share of so many bytes that fits, in [0, 1], beside what lies in the folder.

        Args:
            needed: Bytes of all entries of a set.
            held: The share of them that lies there already.
        """
        if not needed or not self.limit:
            return self.limit
        # What others hold is that share of what they would hold, were there room.
        return min(self.holds / (self._others(needed, held) / self.limit + needed), self.limit)

    def _others(self, needed: int, held: float) -> int:
        """Bytes of entries that belong to other sets."""
        return max(self.used - round(held * needed), 0)

    def fits(self, needs: Needs, level: str) -> float:
        """The share of a set that fits at a level, in [0, 1]."""
        return self.share(needs.at(level), needs.held.get(level, 0.0))

    def words(self, needs: Needs, level: str) -> str:
        """What fits of a set at a level."""
        share, needed = self.fits(needs, level), needs.at(level)
        fits = 'all of it fits' if share == 1 else \
            f'{share:.0%} of it fits, and the rest is read from the source'
        disk = '' if self.holds == self.budget else \
            f', of which its file system leaves {size(self.holds)}'
        before = ''
        if share < min(self.holds / max(needed, 1), 1.0):
            others = self._others(needed, needs.held.get(level, 0.0))
            before = f' ({size(others)} of other entries lie in it' if share < self.limit else \
                f' (it has been full and takes {self.limit:.0%} of all files'
            before += f'; tricks cache --folder {self.folder} --clear empties it)'
        return f'the budget of {self.folder} is {size(self.budget)}{disk}: {level}, {fits}{before}'


def measure(
    files: Sequence[Any], read: Callable[[Any], bytes], decode: Callable[[bytes], Any],
    sample: int = _SAMPLE, held: Callable[[Any], Mapping[str, bool]] | None = None,
) -> Needs:
    """Reads and decodes files that lie evenly over a set.

    Args:
        files: Paths, or what else names a file.
        read: The bytes of a file.
        decode: The array of bytes, with ``nbytes``.
        sample: How many at most.
        held: Tells of a file at which levels the cache's folder has it.

    Raises:
        ValueError: If there are no files.
        Exception: What reading and decoding raise.
    """
    count = min(sample, len(files))
    if not count:
        raise ValueError('there are no files')
    encoded = decoded = 0
    times, found = [], {'encoded': 0, 'decoded': 0}
    for number in range(count):
        file = files[(2 * number + 1) * len(files) // (2 * count)]
        data = read(file)
        begin = time.thread_time()
        image = decode(data)
        times.append(time.thread_time() - begin)
        encoded += cost(len(data))
        decoded += cost(image.nbytes)
        for level, there in (held(file) if held else {}).items():
            found[level] += there
    return Needs(len(files), count, encoded * len(files) // count,
                 decoded * len(files) // count, 1000 * sorted(times)[count // 2],
                 {level: there / count for level, there in found.items()})


def together(needs: Sequence[Needs]) -> Needs:
    """What several sets need in one folder.

    Args:
        needs: At least one.
    """
    def mean(values: Sequence[float], weights: Sequence[int]) -> float:
        return sum(value * weight for value, weight in zip(values, weights, strict=True)) / max(
            sum(weights), 1)

    return Needs(
        sum(one.files for one in needs), sum(one.sampled for one in needs),
        sum(one.encoded for one in needs), sum(one.decoded for one in needs),
        mean([one.decode_ms for one in needs], [one.files for one in needs]),
        {level: mean([one.held.get(level, 0.0) for one in needs], [one.at(level) for one in needs])
         for level in ('encoded', 'decoded')})


def room_in(folder: str, budget_mb: float | None) -> Room:
    """What a folder may hold, there or not; makes nothing.

    Args:
        folder: The folder.
        budget_mb: The budget that a run names for it; None if it names none.
    """
    budget = planned_budget(folder) if budget_mb is None else int(budget_mb * 1e6)
    found, limit = found_state(folder), 1.0
    if found is not None and budget <= found.budget:  # a larger one lets all come again
        limit = min(found.limit / MAX_RANK, 1.0)
    return Room(folder, budget, planned_space(folder), 0 if found is None else found.used, limit)


def slow_source(path: str) -> str:
    """What makes the storage under a local path slow, in a few words; empty if it is not known so.

    Args:
        path: A file.
    """
    kind, device = file_system(path)
    if kind.split('.')[0].rstrip('0123456789') in {name.rstrip('0123456789') for name in _NETWORK}:
        return f'the images lie on a network file system ({kind})'
    if _turns(device):
        return f'the images lie on a rotating disk ({device})'
    return ''


def _turns(device: str) -> bool:
    """Whether a block device, or the disk of a partition, says that it rotates."""
    name = os.path.basename(os.path.realpath(device)) if device.startswith('/dev/') else ''
    node = Path('/sys/class/block') / name
    if not name or not node.exists():
        return False
    disk = node.resolve()
    for place in (disk, disk.parent):
        try:
            # Virtual disks claim to rotate whatever lies below them.
            return (place / 'queue' / 'rotational').read_text().strip() == '1' and \
                not name.startswith(('vd', 'xvd', 'loop', 'dm-', 'nvme'))
        except OSError:
            continue
    return False


def in_page_cache(needs: Needs) -> bool:
    """Whether the files would fit in half of the memory that is available."""
    memory = available_memory()
    return memory is not None and needs.encoded <= memory // 2


def size(number: float) -> str:
    """Bytes in MB or GB of powers of ten."""
    return f'{number / 1e9:.1f} GB' if number >= 1e9 else f'{number / 1e6:.3g} MB'
