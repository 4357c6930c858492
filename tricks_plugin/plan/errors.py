"""The errors that a wrong `tricks` setting raises."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ['FailedRunError', 'TrickError', 'did_you_mean', 'nearest']


class TrickError(ValueError):
    """A trick's name, parameter or place in the config is wrong.

    The message is one line, begins with the path in the config, and says the rule and the
    value received.
    """


class FailedRunError(RuntimeError):
    """A training that was set up rightly and has failed; the message is one line."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The hint that closes an "unknown name" message.

    Args:
        name: What the user wrote.
        known: Every valid name.

    Returns:
        ``"; did you mean 'mixup'? (known: ...)"``, without the question where nothing is near.
    """
    names = sorted(known)
    return f'{did_you_mean(name, names)} (known: {", ".join(names)})'


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The same without the list, for names of which there are too many to list.

    Args:
        name: What the user wrote.
        known: Every valid name.

    Returns:
        ``"; did you mean 'mixup'?"``, or nothing where nothing is near.
    """
    close = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    return f'; did you mean {close[0]!r}?' if close else ''
