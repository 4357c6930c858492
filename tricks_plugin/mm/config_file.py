"""Reading a config file, and the words of ``--cfg-options``."""

from __future__ import annotations

import argparse
from typing import Any

from ..plan.errors import TrickError
from ..plan.recipes import split_names

__all__ = ['load_config', 'one_line', 'parse_settings']


def parse_settings(words: list[str], flag: str = '--cfg-options') -> dict[str, Any]:
    """``KEY=VALUE`` words as mmengine reads them.

    Args:
        words: Lists as ``key="[a,b]"`` or ``key=a,b``.
        flag: Where they stand, for the message.

    Raises:
        TrickError: If one is none.
    """
    from mmengine.config import DictAction
    found = argparse.Namespace(settings=None)
    action = DictAction([flag], 'settings', nargs='+')
    try:
        action(argparse.ArgumentParser(), found, words)
    except Exception as error:  # ValueError without a '=', AssertionError for brackets
        raise TrickError(f'{flag} must be KEY=VALUE, got {" ".join(words)!r} '
                         f'({one_line(error)})') from error
    return dict(found.settings)


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
        raise TrickError(f'cannot read config {path}: {one_line(error)}') from error
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
        raise TrickError(f'cannot set --cfg-options in {path}: {one_line(error)}') from error
    return cfg


def _from_zoo(path: str) -> Any:
    """A config of an installed package, such as ``mmdet::yolo/yolov3_d53_...py``."""
    from mmengine.hub import get_config
    return get_config(path)


def one_line(error: BaseException) -> str:
    """An error's class and message, in one line."""
    text = ' '.join(str(error).split()) or 'no message'
    return f'{type(error).__name__}: {text}'
