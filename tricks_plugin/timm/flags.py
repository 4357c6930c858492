"""Reads a training command line with timm's flags, and the YAML of its ``-c``.

Needs argparse and PyYAML only, so that a wrong command line is refused at once.
"""

from __future__ import annotations

import argparse
import ast
import copy
import dataclasses
import functools
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import yaml

from tricks_plugin.plan.errors import TrickError, did_you_mean
from tricks_plugin.plan.recipes import split_names

from .checks_values import check_values
from .flag_row import Flag
from .flag_table import LEFT_OUT, MODEL_FLAGS, OWN_FLAGS
from .flag_table_training import TRAINING_FLAGS

__all__ = ['FLAGS', 'Settings', 'parse', 'to_yaml', 'trick_wish']

_GROUPS = {**MODEL_FLAGS, **TRAINING_FLAGS, 'tricks': OWN_FLAGS}
FLAGS: dict[str, Flag] = {row.dest: row for rows in _GROUPS.values() for row in rows}
_TYPES = {'int': int, 'float': float, 'str': str}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a command line says.

    Attributes:
        args: Every setting of timm's script by its name there, and ``tricks``,
            ``trick_options``, ``plan`` and ``json``.
        given: The names that the user set, on the command line or in the YAML, be it to the
            default value.
        config: The path of the YAML, or ''.
    """

    args: argparse.Namespace
    given: frozenset[str]
    config: str


def parse(argv: Sequence[str] | None = None) -> Settings:
    """Reads a command line as timm's script does: defaults, then the YAML, then the flags.

    Args:
        argv: The words after the program's name; None takes those of the process.

    Raises:
        TrickError: For unknown flags and keys (names the nearest), those of timm's script that
            are left out here, values of a wrong type, out of bounds or that are none of the words
            known, a YAML that cannot be read, and two different ``--sched``.
    """
    typed, unknown = _parser().parse_known_args(argv)
    if unknown:
        _refuse_words(unknown)
    config = vars(typed).pop('config', '')
    given = {**(_read_config(config) if config else {}), **vars(typed)}
    defaults = {name: copy.deepcopy(row.default) for name, row in FLAGS.items()}
    args = argparse.Namespace(**{**defaults, **given})
    check_values(FLAGS, args)
    return Settings(args, frozenset(given), config)


def to_yaml(args: argparse.Namespace) -> str:
    """Settings as YAML text that ``-c`` reads again, in this script and in timm's.

    Args:
        args: The settings, all plain values. ``plan`` and ``json`` are left out, and ``tricks``
            and ``trick_options`` where none are asked for.
    """
    values = {
        name: value for name, value in vars(args).items()
        if name not in ('plan', 'json') and (name not in ('tricks', 'trick_options') or value)
    }
    return yaml.safe_dump(values, default_flow_style=False)


def trick_wish(settings: Settings) -> Any:
    """The ``tricks`` value that ``--tricks`` and ``--trick-options`` ask for.

    Args:
        settings: As `parse` returned them.

    Returns:
        The names, followed by a dict of parameters where there are any, for
        `tricks_plugin.plan.recipes.select`; None without ``--tricks``.

    Raises:
        TrickError: If an option is no ``KEY=VALUE``, is given twice, or stands alone.
    """
    names, options = settings.args.tricks, settings.args.trick_options
    if names is None:
        if options:
            raise TrickError(f'--trick-options needs --tricks NAME beside it, got {options!r}')
        return None
    wish: list[Any] = split_names(names)
    if options:
        wish.append(_nested(options))
    return wish


def _nested(options: Iterable[str]) -> dict[str, Any]:
    """``mixup.alpha=0.4`` and the like as ``{'mixup': {'alpha': 0.4}}``."""
    tree: dict[str, Any] = {}
    for name, value in _pairs('--trick-options', options):
        head, _, tail = name.partition('.')
        place = tree.setdefault(head, {}) if tail else tree
        key = tail or head
        if not isinstance(place, dict) or key in place:
            raise TrickError(f'--trick-options: {name!r} is given twice, got {list(options)!r}')
        place[key] = value
    return tree


def _pairs(flag: str, words: Iterable[str]) -> list[tuple[str, Any]]:
    """``KEY=VALUE`` words; a value that is no Python literal is a string."""
    pairs = []
    for word in words:
        key, equals, text = word.partition('=')
        if not equals or not key:
            raise TrickError(f'{flag} must be KEY=VALUE pairs, got {word!r}')
        try:
            value = ast.literal_eval(text)
            yaml.safe_dump(value)  # args.yaml has no complex numbers
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError, yaml.YAMLError):
            value = text
        pairs.append((key, value))
    return pairs


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are TrickErrors; abbreviations are allowed, as in timm's script."""

    def error(self, message: str) -> NoReturn:
        raise TrickError(message)


class _KeyValues(argparse.Action):
    """Collects ``KEY=VALUE`` words in a dict."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace,
                 values: Any, option_string: str | None = None) -> None:
        setattr(namespace, self.dest, dict(_pairs(self.option_strings[-1], filter(None, values))))


class _Once(argparse.Action):
    """Stores a value that may be repeated, but not contradicted."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace,
                 values: Any, option_string: str | None = None) -> None:
        first = getattr(namespace, self.dest, values)
        if first != values:
            raise TrickError(
                f'{option_string} must name one schedule, got {first!r} and {values!r}')
        setattr(namespace, self.dest, values)


class _LeftOut(argparse.Action):
    """Refuses a flag that only timm's script has."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace,
                 values: Any, option_string: str | None = None) -> NoReturn:
        _refuse_left_out(self.option_strings[0])


@functools.lru_cache(maxsize=1)
def _parser() -> _Parser:
    """The parser of all flags; its namespace holds what stands on the command line, no more."""
    parser = _Parser(description='Train a timm model with a bag of tricks.',
                     usage='%(prog)s [DIR] [-c FILE] [flags]', argument_default=argparse.SUPPRESS)
    parser.add_argument('-c', '--config', metavar='FILE',
                        help='YAML file with settings; flags on the command line win over it')
    for title, rows in _GROUPS.items():
        group = parser.add_argument_group(title)
        exclusive: dict[str, Any] = {}
        for row in rows:
            if row.exclusive and row.exclusive not in exclusive:
                exclusive[row.exclusive] = group.add_mutually_exclusive_group()
            place = exclusive.get(row.exclusive, group)
            place.add_argument(*row.names, **_arguments(row))
    for name in LEFT_OUT:
        parser.add_argument(f'--{name.replace("_", "-")}', action=_LeftOut, nargs='*',
                            help=argparse.SUPPRESS)
    return parser


def _arguments(row: Flag) -> dict[str, Any]:
    """A row of the table as argparse takes it."""
    if row.kind == 'switch':
        return {'help': row.help, 'action': 'store_true', 'default': argparse.SUPPRESS}
    told = row.help
    if row.default not in (None, '', [], {}):
        told += f' (default: {row.default})'
    if row.kind == 'kwargs':
        return {'help': told, 'nargs': row.nargs, 'action': _KeyValues, 'metavar': 'KEY=VALUE'}
    arguments = {'help': told, 'nargs': row.nargs, 'type': _TYPES[row.kind], 'const': row.const,
                 'metavar': row.metavar or {'int': 'N', 'float': 'X', 'str': 'NAME'}[row.kind]}
    return {**arguments, 'action': _Once} if row.dest == 'sched' else arguments


def _read_config(path: str) -> dict[str, Any]:
    """The settings of a YAML file, without those at their defaults that are left out here."""
    try:
        with open(path, encoding='utf-8') as file:
            values = yaml.safe_load(file)
    except Exception as error:  # beside its own errors PyYAML lets those of its converters out
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise TrickError(f'--config must be a YAML file that can be read, got {path}: {reason}'
                         ) from error
    if not isinstance(values, dict):
        raise TrickError(f'--config must hold names and values, got {path} with '
                         f'{type(values).__name__}')
    settings = {}
    for name, value in values.items():
        if name in FLAGS:
            settings[name] = _converted(FLAGS[name], value)
        elif name not in LEFT_OUT:
            raise TrickError(f'{path}: unknown key {name!r}{did_you_mean(name, FLAGS)}')
        elif value != LEFT_OUT[name]:
            _refuse_left_out(f'{path}: {name}')
    return settings


def _converted(row: Flag, value: Any) -> Any:
    """A YAML's value with text as the flag reads it: YAML takes 1e-3, without a point, for text."""
    if isinstance(value, list):
        return [_converted(row, one) if isinstance(one, str) else one for one in value]
    if not isinstance(value, str) or row.kind not in ('int', 'float'):
        return value
    try:
        return _TYPES[row.kind](value)
    except ValueError:
        raise TrickError(f'argument {"/".join(row.names)}: invalid {row.kind} value: {value!r}'
                         ) from None


def _refuse_words(words: Sequence[str]) -> NoReturn:
    """Raises for words that the parser could not place."""
    flag = next((word.partition('=')[0] for word in words if word.startswith('-')), None)
    if flag is None:
        raise TrickError(f'only one folder or tar may stand without a flag, got also {words[0]!r}')
    known = [name for row in FLAGS.values() for name in row.names]
    raise TrickError(f'unknown flag {flag}{did_you_mean(flag, known)}')


def _refuse_left_out(name: str) -> NoReturn:
    raise TrickError(f"{name}: timm's own training script has this setting and this one has not; "
                     "train with timm's script where you need it")
