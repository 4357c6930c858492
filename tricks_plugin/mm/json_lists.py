"""Reading the lists in a JSON file entry by entry, without the file in memory."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import re
from collections.abc import Callable, Collection, Iterator
from typing import Any, TextIO, TypeVar

__all__ = ['MISSING', 'MOST', 'JsonText', 'list_length', 'read_once', 'top_lists']

MISSING: Any = object()  # a field that an entry does not have
_CHUNK = 1 << 20  # characters that are read at once
_LARGEST_VALUE = 32 << 20  # characters of one value in the file
MOST = 1 << 30  # characters of a file that are read
_WHOLE = 64 << 20  # bytes of a file that is read to its end, though the list ends before
_Found = TypeVar('_Found')


def list_length(path: str, names: Collection[str]) -> int:
    """How many entries the first list of one of these names has, at the top of a JSON file.

    The file is read a piece at a time; what stands before the list is dropped value by value. What
    stands behind it is looked at too, but in a large file, of which that is the last character
    alone. A file is read once as long as it does not change, though it could not be counted.

    Args:
        path: The file: one object whose keys are searched.
        names: Of the list.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it holds no such list, is no JSON, or hides the list behind too much else.
    """
    return read_once(_length, path, tuple(sorted(names)))


def read_once(read: Callable[..., _Found], path: str, *settings: Any) -> _Found:
    """What a function makes of a file, which is remembered until the file changes.

    Args:
        read: Takes an open `JsonText`, the file's size in bytes, and the settings.
        path: The file.
        *settings: Hashable.

    Raises:
        OSError: If the file cannot be opened; this is not remembered.
        ValueError: Those of the function, which are, and those of a file that is no JSON text.
    """
    state = os.stat(path)
    found = _tried(read, path, state.st_size, state.st_mtime_ns, settings)
    if isinstance(found, _Failed):
        raise ValueError(found.why)
    return found


@dataclasses.dataclass(frozen=True)
class _Failed:
    why: str


@functools.lru_cache(maxsize=64)
def _tried(read: Callable[..., Any], path: str, size: int, changed: int,
           settings: tuple[Any, ...]) -> Any:
    try:
        with open(path, encoding='utf-8-sig', newline='') as file:
            return read(JsonText(file), size, *settings)
    except UnicodeDecodeError:
        return _Failed('it is no text')
    except json.JSONDecodeError as error:
        return _Failed(str(_no_json(error.msg)))
    except RecursionError:
        return _Failed('it is nested too deep')
    except ValueError as error:
        return _Failed(str(error))


def _no_json(what: str) -> ValueError:
    return ValueError(f'it is no JSON that could be read ({what})')


def _length(text: JsonText, size: int, names: tuple[str, ...]) -> int:
    if size > _WHOLE and not text.ends_with('}'):
        raise _no_json('it does not end in a brace')
    count: int | None = None
    for key in top_lists(text):
        entries = sum(1 for _ in text.entries())
        count = entries if count is None and key in names else count
        if count is not None and size > _WHOLE:
            break
    if count is None:
        raise ValueError(f'it holds no list named {" or ".join(names)}')
    return count


def top_lists(text: JsonText) -> Iterator[str]:
    """The keys of the lists in the object that a file is, each with the text in front of its list.

    Whoever takes a key passes over the list, by `JsonText.entries`.

    Raises:
        ValueError: If the file is no such object, or holds more than it.
    """
    if text.take() != '{':
        raise ValueError('it holds no object with named lists')
    more = text.peek() != '}'
    while more:
        key = text.value() if text.peek() == '"' else None
        if not isinstance(key, str) or text.take() != ':':
            raise _no_json('its object has no key and value where they should be')
        if text.peek() == '[':
            yield key
        else:
            text.value()
        more = text.goes_on('}')
    text.take()
    if text.peek():
        raise _no_json('text follows its object')


class JsonText:
    """JSON text that is read as far as it is needed, and kept no longer.

    Args:
        file: At its beginning.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._decoder = json.JSONDecoder()
        self._text, self._at, self._read = '', 0, 0

    def ends_with(self, mark: str) -> bool:
        """Whether this ASCII character is the last of the file that is no space."""
        raw = self._file.buffer
        raw.seek(-min(4096, raw.seek(0, os.SEEK_END)), os.SEEK_END)
        last = raw.read().rstrip()[-1:]
        self._file.seek(0)
        return bool(last == mark.encode())

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

    def goes_on(self, end: str) -> bool:
        """Passes over the comma behind an entry; False where the list or object ends instead.

        Args:
            end: The bracket that ends it, which is left.

        Raises:
            ValueError: If neither comes.
        """
        mark = self.peek()
        if mark not in (',', end):
            raise _no_json(f'{mark or "its end"} comes where a comma or {end} should be')
        if mark == ',':
            self.take()
        return mark == ','

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

    def entries(self, *fields: str) -> Iterator[tuple[Any, ...]]:
        """The entries of the list that comes next, passed over one by one.

        Args:
            *fields: What is wanted of entries that are objects; `MISSING` where they lack it. Of
                the rest only the form is looked at: numbers in lists are not decoded.
        """
        self.take()
        pattern = _flat_object(fields)
        more = self.peek() != ']'
        while more:
            yield self._fields(pattern, fields)
            more = self.goes_on(']')
        self.take()

    def _fields(self, pattern: re.Pattern[str], fields: tuple[str, ...]) -> tuple[Any, ...]:
        match = pattern.match(self._text, self._at)
        if match is not None:
            whole = match.group()
            if whole.count('[') == whole.count(']'):
                self._at = match.end()
                return tuple([MISSING if one is None else int(one) for one in match.groups()])
        entry = self.value()
        if not isinstance(entry, dict):
            return (MISSING,) * len(fields)
        return tuple([entry.get(field, MISSING) for field in fields])

    def _more(self) -> bool:
        """Reads on; False at the end of the file."""
        rest = self._text[self._at:]
        if len(rest) > _LARGEST_VALUE or self._read > MOST:
            raise ValueError(f'no list of images ends in its first {self._read >> 20} MB')
        piece = self._file.read(max(_CHUNK, len(rest)))
        self._text, self._at, self._read = rest + piece, 0, self._read + len(piece)
        return bool(piece)


@functools.lru_cache(maxsize=16)
def _flat_object(fields: tuple[str, ...]) -> re.Pattern[str]:
    """Matches an object of plain values and lists of numbers, whose wanted fields are integers.

    Several times as fast as decoding it, which is left for what it does not match.
    """
    space, text = r'[ \t\n\r]*', r'[^"\\\x00-\x1f]*"'
    wanted = ''.join(rf'"{field}"{space}:{space}(-?[0-9]{{1,18}})(?![0-9.eE])|' for field in fields)
    others = f'(?!(?:{"|".join(fields)})")' if fields else ''
    plain = (rf'"{others}{text}{space}:{space}(?:-?[0-9][0-9.eE+\-]*|"{text}|'
             r'\[[-+0-9.,eE \t\n\r\[\]]*\]|true|false|null)')
    return re.compile(rf'\{{{space}(?:(?:{wanted}{plain}){space}(?:,{space}(?=")|(?=\}})))*\}}')
