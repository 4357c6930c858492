"""Where timm, torch and the file system raise: their errors as one line that names the flag."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..plan.errors import TrickError

__all__ = ['naming', 'one_line']

_LONGEST = 300


def one_line(error: BaseException) -> str:
    """An error's kind and its words in one line, cut where they are long."""
    text = ' '.join(str(error).split())
    text = text if len(text) <= _LONGEST else f'{text[:_LONGEST]} ...'
    return f'{type(error).__name__}: {text}' if text else type(error).__name__


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Turns whatever is raised inside into a TrickError that begins with ``what``.

    Files and other people's models may raise anything, so everything is caught.

    Args:
        what: The flag and its value.
    """
    try:
        yield
    except TrickError:
        raise
    except Exception as error:
        raise TrickError(f'{what}: {one_line(error)}') from error
