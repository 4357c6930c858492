"""How a command ends: one line for an error, and an exit status."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable

from ..plan.errors import FailedRunError, TrickError

__all__ = ['run_door']

_SIGPIPE = 128 + 13


def run_door(door: Callable[[], int | None], prints: bool = False) -> int:
    """Runs a command and returns its exit status.

    A wrong setting becomes one line on stderr and status 2, a training that has failed one line and
    status 1. Where nobody reads on, as behind ``| head``, it ends quietly: with its own status if
    its work was done, else with 141, as a shell reports a program that SIGPIPE has ended.

    Args:
        door: The command.
        prints: Whether it does nothing but print, so that its work is done when nobody reads on.
    """
    status = 0 if prints else _SIGPIPE
    try:
        try:
            status = door() or 0
            return status
        except (TrickError, FailedRunError) as error:
            status = 2 if isinstance(error, TrickError) else 1
            print('error:', *str(error).splitlines(), file=sys.stderr)
            return status
        finally:
            for stream in (sys.stdout, sys.stderr):
                if stream is not None:
                    stream.flush()
    except BrokenPipeError:
        if not _unread():
            raise
        return status


def _unread() -> bool:
    """Whether stdout or stderr has lost its reader; what is left to be said then goes nowhere."""
    watch = select.poll()
    numbers = [stream.fileno() for stream in (sys.stdout, sys.stderr) if stream is not None]
    for number in numbers:
        watch.register(number, 0)
    lost = [number for number, event in watch.poll(0) if event & select.POLLERR]
    for number in lost:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)
    return bool(lost)
