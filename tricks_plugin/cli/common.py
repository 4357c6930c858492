"""What the command-line doors share: reading a config with its tricks."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from ..plan.errors import TrickError
from ..plan.recipes import split_names

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
                         f"'tricks_plugin[timm]' ({_one_line(error)})") from error


def config_name(path: str) -> str:
    """A config's name without folder and suffix, from a path or ``package::path``."""
    return path.rpartition('::')[2].replace('\\', '/').rpartition('/')[2].removesuffix('.py')


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds ``--tricks`` and ``--cfg-options``; words that are no KEY=VALUE raise TrickError."""
    from mmengine.config import DictAction

    class Settings(DictAction):
        def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
            try:
                super().__call__(parser, namespace, values, option)
            except Exception as error:  # ValueError without a '=', AssertionError for brackets
                raise TrickError(f'--cfg-options must be KEY=VALUE, got {" ".join(values)!r} '
                                 f'({_one_line(error)})') from error

    parser.add_argument(
        '--tricks', metavar='NAME[,NAME...]',
        help='recipes or single tricks to apply; parameters by --cfg-options tricks.NAME.PARAM=V')
    parser.add_argument(
        '--cfg-options', nargs='+', action=Settings, metavar='KEY=VALUE',
        help='settings to override in the config; lists as key="[a,b]" or key=a,b')


def load_config(path: str, tricks: str | None, options: dict[str, Any] | None) -> Any:
    """Reads a config and merges the command line's settings into it.

    Args:
        path: The config file, or ``package::path`` of an installed OpenMMLab package's zoo.
        tricks: The value of ``--tricks``.
        options: The value of ``--cfg-options``.

    Returns:
        The Config, with ``tricks`` set where any are asked for.

    Raises:
        TrickError: If the file cannot be read or merged, or tricks are given twice.
    """
    from mmengine.config import Config
    options = dict(options or {})
    try:
        cfg = _from_zoo(path) if '::' in path else Config.fromfile(path)
    except Exception as error:  # a config is a program: reading it may raise anything
        raise TrickError(f'cannot read config {path}: {_one_line(error)}') from error
    if tricks is not None and cfg.get('tricks') is not None:
        raise TrickError(
            f'tricks are given twice: by --tricks and in {path} under `tricks`; to change the '
            "config's, set tricks.NAME.PARAMETER with --cfg-options"
        )
    beside = {}
    if tricks is not None:
        if 'tricks' in options:
            raise TrickError('tricks are given twice: by --tricks and by --cfg-options tricks=')
        beside = {key: options.pop(key) for key in list(options) if key.startswith('tricks.')}
    try:
        cfg.merge_from_dict(options)
        if tricks is not None:
            cfg.tricks = split_names(tricks)
            if beside:
                own = Config({})
                own.merge_from_dict(beside)
                cfg.tricks = [*cfg.tricks, own.tricks.to_dict()]
    except TrickError:
        raise
    except Exception as error:  # mmengine raises TypeError, KeyError and others here
        raise TrickError(f'cannot set --cfg-options in {path}: {_one_line(error)}') from error
    return cfg


def _from_zoo(path: str) -> Any:
    """A config of an installed package, such as ``mmdet::yolo/yolov3_d53_...py``."""
    from mmengine.hub import get_config
    return get_config(path)


def _one_line(error: BaseException) -> str:
    text = ' '.join(str(error).split()) or 'no message'
    return f'{type(error).__name__}: {text}'
