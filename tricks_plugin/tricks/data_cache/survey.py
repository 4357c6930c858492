"""What a set of images needs at each level, measured on a sample, and what of it fits."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .files import cost
from .folder import available_memory, file_system, planned_budget, planned_space

__all__ = ['Needs', 'Room', 'in_page_cache', 'measure', 'room_in', 'size', 'slow_source']

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
    """

    files: int
    sampled: int
    encoded: int
    decoded: int
    decode_ms: float

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
    """

    folder: str
    budget: int
    space: int | None = None

    @property
    def holds(self) -> int:
        """Bytes: the budget, or what the file system has where that is less."""
        return self.budget if self.space is None else min(self.budget, self.space)

    def share(self, needed: int) -> float:
        """The share of so many bytes that fits, in [0, 1]."""
        return min(self.holds / needed, 1.0) if needed else 1.0

    def words(self, needs: Needs, level: str) -> str:
        """What fits of a set at a level."""
        share = self.share(needs.at(level))
        fits = 'all of it fits' if share == 1 else \
            f'{share:.0%} of it fits, and the rest is read from the source'
        disk = '' if self.holds == self.budget else \
            f', of which its file system leaves {size(self.holds)}'
        return f'the budget of {self.folder} is {size(self.budget)}{disk}: {level}, {fits}'


def measure(
    files: Sequence[Any], read: Callable[[Any], bytes], decode: Callable[[bytes], Any],
    sample: int = _SAMPLE,
) -> Needs:
    """Reads and decodes files that lie evenly over a set.

    Args:
        files: Paths, or what else names a file.
        read: The bytes of a file.
        decode: The array of bytes, with ``nbytes``.
        sample: How many at most.

    Raises:
        ValueError: If there are no files.
        Exception: What reading and decoding raise.
    """
    count = min(sample, len(files))
    if not count:
        raise ValueError('there are no files')
    encoded = decoded = 0
    times = []
    for number in range(count):
        data = read(files[(2 * number + 1) * len(files) // (2 * count)])
        begin = time.thread_time()
        image = decode(data)
        times.append(time.thread_time() - begin)
        encoded += cost(len(data))
        decoded += cost(image.nbytes)
    return Needs(len(files), count, encoded * len(files) // count,
                 decoded * len(files) // count, 1000 * sorted(times)[count // 2])


def room_in(folder: str, budget_mb: float | None) -> Room:
    """What a folder may hold, there or not."""
    budget = planned_budget(folder) if budget_mb is None else int(budget_mb * 1e6)
    return Room(folder, budget, planned_space(folder))


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
