"""What the command-line doors share: the flags of a config with tricks."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from ..mm.config_file import load_config, one_line, parse_settings
from ..plan.errors import TrickError

__all__ = ['Parser', 'add_config_arguments', 'config_name', 'load_config', 'needs_timm',
           'parse_for_either', 'split_flags']


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Raises TrickError."""
        raise TrickError(f'{self.prog}: {message}')


def split_flags(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words before the first ``--``, and those behind it."""
    place = list(words).index('--') if '--' in words else len(words)
    return list(words[:place]), list(words[place + 1:])


def parse_for_either(
    argv: Sequence[str] | None, prog: str | None,
    make: Callable[[str | None, bool], argparse.ArgumentParser],
) -> tuple[argparse.Namespace, list[str], bool]:
    """Reads the words of a command that takes a config, or after ``timm`` timm's flags.

    Args:
        argv: The words; None for the process's.
        prog: The program's name in messages.
        make: Makes the parser, from the name and whether it is for timm.

    Returns:
        The command's own settings, timm's flags, and whether it is for timm.

    Raises:
        TrickError: If a config's words are not known.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    for_timm = words[:1] == ['timm']
    parser = make(prog, for_timm)
    own, behind = split_flags(words[1:] if for_timm else words)
    args, flags = parser.parse_known_args(own)
    flags += behind
    if flags and not for_timm:
        raise TrickError(f'{parser.prog}: unknown words {" ".join(flags)}')
    return args, flags, for_timm


@contextlib.contextmanager
def needs_timm() -> Iterator[None]:
    """Turns a failing import inside into a TrickError."""
    try:
        yield
    except ImportError as error:
        raise TrickError("timm's flags need timm 1.0.31 or newer: pip install "
                         f"'tricks_plugin[timm]' ({one_line(error)})") from error


def config_name(path: str) -> str:
    """A config's name without folder and suffix, from a path or ``package::path``."""
    return path.rpartition('::')[2].replace('\\', '/').rpartition('/')[2].removesuffix('.py')


class _Settings(argparse.Action):
    """Collects ``KEY=VALUE`` words in a dict."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace,
                 values: Any, option_string: str | None = None) -> None:
        known = getattr(namespace, self.dest, None) or {}
        setattr(namespace, self.dest, {**known, **parse_settings(values, '--cfg-options')})


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds ``--tricks`` and ``--cfg-options``; words that are no KEY=VALUE raise TrickError."""
    parser.add_argument(
        '--tricks', metavar='NAME[,NAME...]',
        help='recipes or single tricks to apply; parameters by --cfg-options tricks.NAME.PARAM=V')
    parser.add_argument(
        '--cfg-options', nargs='+', action=_Settings, metavar='KEY=VALUE',
        help='settings to override in the config; lists as key="[a,b]" or key=a,b')
