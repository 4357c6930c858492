"""What the command-line doors share: the flags of a config with tricks."""

from __future__ import annotations

import argparse
from typing import Any

from ..mm.config_file import load_config, parse_settings

__all__ = ['add_config_arguments', 'load_config']


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
