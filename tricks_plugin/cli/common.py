"""What the command-line doors share: the flags of a config with tricks."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from ..mm.config_file import load_config, one_line, parse_settings
from ..plan.errors import TrickError

__all__ = ['Parser', 'add_config_arguments', 'config_name', 'load_config', 'needs_timm',
           'split_flags']


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Raises TrickError."""
        raise TrickError(f'{self.prog}: {message}')


def split_flags(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words before the first ``--``, and those behind it."""
    place = list(words).index('--') if '--' in words else len(words)
    return list(words[:place]), list(words[place + 1:])


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
