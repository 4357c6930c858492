"""Names and checksums of cache entries. Pure: bytes and numbers in and out."""

from __future__ import annotations

import hashlib
import json
import zlib
from typing import Any

import numpy as np

__all__ = ['MAX_RANK', 'entry_name', 'rank_of', 'word_checksum']

MAX_RANK = 2 ** 64
"""Above every rank: a cache with this limit refuses nothing."""

_encode = json.JSONEncoder(sort_keys=True, default=str).encode
_ROW = 512  # words of 8 bytes: one page of memory


def entry_name(*key: Any) -> str:
    """The name of an entry: 32 hexadecimal digits that follow from its key alone.

    Args:
        *key: Plain values, such as level, backend settings and path.
    """
    text = _encode(key)
    return hashlib.blake2b(text.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()


def rank_of(name: str) -> int:
    """An entry's place in the order in which entries are kept, in [0, 2^64).

    Even over all names, so that the entries below 2^64 x share are that share of a set. 0 is kept
    first.

    Args:
        name: As `entry_name` gives it.
    """
    return int(name[:16], 16)


def word_checksum(data: bytes | np.ndarray) -> int:
    """A checksum of 32 bits that runs near the speed of memory.

    The words of 8 bytes are summed with an odd weight per page, modulo 2^64, and the sums of the
    512 columns and the bytes that fill no page go through CRC-32. A change of one word changes a
    sum, as odd numbers have an inverse modulo 2^64; so do a page of zeros and two pages in each
    other's place. It is no defence against somebody who wants it to collide.

    Args:
        data: Bytes, or an array of uint8 of one dimension.
    """
    flat = np.frombuffer(data, np.uint8)
    whole = len(flat) // (8 * _ROW) * (8 * _ROW)
    crc = zlib.crc32(flat[whole:].tobytes())
    if not whole:
        return crc
    rows = flat[:whole].view(np.uint64).reshape(-1, _ROW)
    weights = 2 * np.arange(len(rows), dtype=np.uint64) + np.uint64(1)
    return zlib.crc32(np.einsum('i,ij->j', weights, rows).tobytes(), crc)
