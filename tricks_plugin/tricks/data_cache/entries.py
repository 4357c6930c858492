"""The format of a cache entry: a header that says what follows, and the payload."""

from __future__ import annotations

import os
import struct
import zlib
from typing import Any

import numpy as np

from .keys import word_checksum

__all__ = ['HEADER', 'DamagedError', 'Payload', 'is_whole', 'pack', 'read']

Payload = Any  # bytes, or an array that owns its memory

_MAGIC = b'TPCACHE1'
# Magic, name, stamp, length and checksum of the payload, dtype (empty: bytes), dimensions, shape.
_FIELDS = struct.Struct('<8s16s16sQI8sB4Q')
HEADER = 128
_LARGEST_SHAPE = 4


class DamagedError(ValueError):
    """An entry does not hold what was written.

    Attributes:
        inode: The file; 0 where that is not known.
    """

    inode = 0


def pack(name: str, stamp: bytes, payload: Payload) -> tuple[bytes, memoryview]:
    """The header and the payload's bytes, to be written one after the other.

    Args:
        name: The entry's name.
        stamp: 16 bytes that tell the state of the source.
        payload: bytes, or an array of at most four dimensions and a plain dtype.

    Raises:
        TypeError: If an array has more dimensions, or Python objects in it.
    """
    dtype, shape = b'', ()
    if isinstance(payload, np.ndarray):
        if payload.ndim > _LARGEST_SHAPE or payload.dtype.hasobject or not payload.dtype.isnative:
            raise TypeError(f'no entry can hold {payload.dtype} of shape {payload.shape}')
        dtype, shape = payload.dtype.str.encode(), payload.shape
        payload = np.ascontiguousarray(payload).reshape(-1).view(np.uint8)
    fields = _FIELDS.pack(_MAGIC, bytes.fromhex(name), stamp, len(payload),
                          word_checksum(payload), dtype, len(shape),
                          *(*shape, *[0] * (_LARGEST_SHAPE - len(shape))))
    body = fields.ljust(HEADER - 4, b'\0')
    return body + struct.pack('<I', zlib.crc32(body)), memoryview(payload)


def is_whole(fd: int, name: str, stamp: bytes) -> bool:
    """Whether an open entry has this stamp and the size that its header says.

    Raises:
        DamagedError: If it has no header, or that of another entry.
    """
    fields = _unpack(os.pread(fd, HEADER, 0), name)
    return fields[2] == stamp and os.fstat(fd).st_size == HEADER + fields[3]


def _unpack(header: bytes, name: str) -> tuple[Any, ...]:
    if len(header) != HEADER or struct.unpack_from('<I', header, HEADER - 4)[0] != zlib.crc32(
            header[:HEADER - 4]):
        raise DamagedError('the header is damaged')
    fields = _FIELDS.unpack_from(header)
    if fields[0] != _MAGIC or fields[1].hex() != name:
        raise DamagedError('the header is that of something else')
    return fields


def read(fd: int, name: str, stamp: bytes) -> Payload | None:
    """The payload of an open entry, checked; None if its stamp is another one.

    The bytes are copied before they are checked, so that what happens to the file later does
    not reach the caller. Mapping the file would be no faster, as the check touches every page,
    and a mapped file that somebody cuts short ends the process with SIGBUS.

    Args:
        fd: The open file.
        name: The entry's name.
        stamp: 16 bytes that tell the state of the source.

    Raises:
        DamagedError: If the header, the size or the checksum is wrong.
    """
    _, _, found, length, checksum, dtype, ndim, *shape = _unpack(os.pread(fd, HEADER, 0), name)
    if os.fstat(fd).st_size != HEADER + length:
        raise DamagedError('the size is wrong')
    if found != stamp:
        return None
    dtype = dtype.rstrip(b'\0').decode()
    if not dtype:
        payload: Payload = _bytes(fd, length)
        flat = payload
    else:
        flat = np.empty(length, np.uint8)
        _fill(fd, flat)
        payload = flat.view(dtype).reshape(shape[:ndim])
    if word_checksum(flat) != checksum:
        raise DamagedError('the checksum is wrong')
    return payload


def _bytes(fd: int, length: int) -> bytes:
    """``length`` bytes behind the header; a read returns at most 2 GB at once."""
    data = os.pread(fd, length, HEADER)
    if len(data) == length:
        return data
    flat = np.empty(length, np.uint8)
    _fill(fd, flat)
    return flat.tobytes()


def _fill(fd: int, flat: np.ndarray) -> None:
    done = 0
    while done < len(flat):
        got = os.preadv(fd, [flat[done:].data], HEADER + done)
        if not got:
            raise DamagedError('the file ends early')
        done += got
