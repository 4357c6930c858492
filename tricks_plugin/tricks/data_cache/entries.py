"""The format of a cache entry: a header that says what follows, and the payload."""

from __future__ import annotations

import dataclasses
import os
import struct
import zlib
from typing import Any

import numpy as np

from .keys import word_checksum

__all__ = ['HEADER', 'DamagedError', 'Header', 'Payload', 'copied', 'header_of', 'pack', 'payload']

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


@dataclasses.dataclass(frozen=True)
class Header:
    """What an entry says of itself.

    Attributes:
        stamp: 16 bytes that tell the state of the source.
        length: Bytes of the payload.
        checksum: Theirs.
        dtype: The array's; empty for bytes.
        shape: The array's.
    """

    stamp: bytes
    length: int
    checksum: int
    dtype: str
    shape: tuple[int, ...]

    def shaped(self, flat: np.ndarray) -> np.ndarray:
        """The array in a row of bytes."""
        return flat.view(self.dtype).reshape(self.shape)


def header_of(fd: int, name: str, size: int) -> Header:
    """The header of an open entry.

    Args:
        fd: The open file.
        name: The entry's name.
        size: The file's.

    Raises:
        DamagedError: If it is damaged, that of another entry, or the size is not what it says.
    """
    data = os.pread(fd, HEADER, 0)
    if len(data) != HEADER or struct.unpack_from('<I', data, HEADER - 4)[0] != zlib.crc32(
            data[:HEADER - 4]):
        raise DamagedError('the header is damaged')
    magic, own, stamp, length, checksum, dtype, ndim, *shape = _FIELDS.unpack_from(data)
    if magic != _MAGIC or own.hex() != name:
        raise DamagedError('the header is that of something else')
    if size != HEADER + length:
        raise DamagedError('the size is wrong')
    return Header(stamp, length, checksum, dtype.rstrip(b'\0').decode(), tuple(shape[:ndim]))


def payload(fd: int, header: Header, check: bool = True) -> Payload:
    """The payload of an open entry.

    The bytes are copied before they are checked, so that what happens to the file later does
    not reach the caller.

    Args:
        fd: The open file.
        header: Its header.
        check: Whether to compare the checksum.

    Raises:
        DamagedError: If the file ends early, or the checksum is wrong.
    """
    if header.dtype:
        flat: Any = np.empty(header.length, np.uint8)
        _fill(fd, flat)
        found: Payload = header.shaped(flat)
    else:
        flat = found = _bytes(fd, header.length)
    if check and word_checksum(flat) != header.checksum:
        raise DamagedError('the checksum is wrong')
    return found


def copied(array: np.ndarray, header: Header) -> np.ndarray | None:
    """A copy of an entry's array, checked after it was made; None where the checksum is wrong.

    Args:
        array: The array in a map of its file.
        header: Its header.
    """
    copy = array.copy()
    right = word_checksum(copy.reshape(-1).view(np.uint8)) == header.checksum
    return copy if right else None


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
