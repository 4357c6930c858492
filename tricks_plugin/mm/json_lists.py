"""Counting what a list in a JSON file holds, without the file in memory."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Collection
from typing import TextIO

__all__ = ['list_length']

_CHUNK = 1 << 20  # characters that are read at once
_LARGEST_VALUE = 32 << 20  # characters of one value in the file
_MOST = 256 << 20  # characters that are read in search of the list


def list_length(path: str, names: Collection[str]) -> int:
    """How many entries the first list of one of these names has, at the top of a JSON file.

    The file is read only as far as the end of that list, a piece at a time; what stands before it
    is decoded and dropped value by value. A file is read once as long as it does not change.

    Args:
        path: The file: one object whose keys are searched.
        names: Of the list.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it holds no such list, is no JSON, or hides the list behind too much else.
    """
    state = os.stat(path)
    return _counted(path, tuple(sorted(names)), state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _counted(path: str, names: tuple[str, ...], size: int, changed: int) -> int:
    try:
        with open(path, encoding='utf-8-sig') as file:
            return _search(_Text(file), names)
    except UnicodeDecodeError:
        raise ValueError('it is no text') from None
    except json.JSONDecodeError as error:
        raise ValueError(f'it is no JSON that could be read ({error.msg})') from None


def _search(text: _Text, names: tuple[str, ...]) -> int:
    if text.take() != '{':
        raise ValueError('it holds no object with named lists')
    while True:
        key = text.value() if text.peek() == '"' else None
        if key is None or text.take() != ':':
            raise ValueError(f'it holds no list named {" or ".join(names)}')
        if text.peek() != '[':
            text.value()
        else:
            count = _entries(text)
            if key in names:
                return count
        if text.peek() == ',':
            text.take()


def _entries(text: _Text) -> int:
    """Passes over a list, entry by entry."""
    count, mark = 0, text.take()
    while text.peek() != ']':
        text.value()
        count += 1
        mark = text.peek()
        if mark == ',':
            text.take()
        elif mark != ']':
            raise ValueError('a list in it does not end')
    text.take()
    return count


class _Text:
    """JSON text that is read as far as it is needed, and kept no longer."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._decoder = json.JSONDecoder()
        self._text, self._at, self._read = '', 0, 0

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            while self._at < len(self._text):
                if not self._text[self._at].isspace():
                    return self._text[self._at]
                self._at += 1
            if not self._more():
                return ''

    def take(self) -> str:
        """The same, passed over."""
        mark = self.peek()
        self._at += 1
        return mark

    def value(self) -> object:
        """The next value, passed over."""
        self.peek()
        while True:
            try:
                found, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError:
                if not self._more():
                    raise
                continue
            # A number may go on in the next piece.
            if end < len(self._text) or not self._more():
                self._at = end
                return found

    def _more(self) -> bool:
        """Reads on; False at the end of the file."""
        rest = self._text[self._at:]
        if len(rest) > _LARGEST_VALUE or self._read > _MOST:
            raise ValueError(f'no list of images ends in its first {self._read >> 20} MB')
        piece = self._file.read(max(_CHUNK, len(rest)))
        self._text, self._at, self._read = rest + piece, 0, self._read + len(piece)
        return bool(piece)
