"""Shows what the schedulers of a run set, without its model: as a table, a plot, CSV or JSON."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..plan.errors import TrickError
from ..plan.recipes import split_names
from .common import (
    Parser,
    add_config_arguments,
    config_name,
    load_config,
    needs_timm,
    parse_for_either,
)

__all__ = ['main']

_SUFFIXES = ('.png', '.svg', '.csv', '.json')
PLAIN = 'plain'


def _parser(prog: str | None, for_timm: bool) -> Parser:
    parser = Parser(
        prog=f'{prog or "schedule"} timm' if for_timm else prog, allow_abbrev=False,
        description='Shows the learning rate and the momentum at every step of a run, from the '
                    "trainer's own schedulers on one weight: no model is built.",
        epilog="Behind -- stand timm's flags; --tricks is one of them." if for_timm else
               "With timm's flags: schedule timm --tricks A --against B -- DATA --model NAME ...; "
               'exit status 2, with one line on stderr, when something is wrong.')
    if not for_timm:
        parser.add_argument('config', help='config file, or PACKAGE::PATH of an installed zoo')
        add_config_arguments(parser)
    other = 'a YAML file' if for_timm else 'a config file as it is'
    parser.add_argument(
        '--against', nargs='+', metavar='OTHER', default=None,
        help=f'more curves: recipes or tricks (several with commas), {other}, or the word '
             f'{PLAIN!r} (default: {PLAIN} where tricks are asked for)')
    parser.add_argument('--iters-per-epoch', type=int, metavar='N',
                        help='steps in an epoch (default: counted from the training data, of '
                             'which no image is read)')
    parser.add_argument('--processes', type=int, metavar='N',
                        help='for a run of N processes (default: those of the environment)')
    parser.add_argument('--out', nargs='+', metavar='FILE', default=[],
                        help=f'files to write ({", ".join(_SUFFIXES)})')
    parser.add_argument('--log', action='store_true', help="a plot's LR axis is logarithmic")
    return parser


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Plays the schedulers, prints a table and writes the files.

    Args:
        argv: The words after the program's name; by default the process's. After ``timm`` as the
            first one, timm's flags are read.
        prog: The program's name in messages.

    Raises:
        TrickError: If the config, a trick, a flag or a file is wrong.
    """
    args, flags, for_timm = parse_for_either(argv, prog, _parser)
    _check(args)
    from ..common.processes import planned_for
    # Libraries that are imported while loading may print; stdout belongs to the table.
    with contextlib.redirect_stdout(sys.stderr), planned_for(args.processes):
        found = _of_timm(flags, args) if for_timm else _of_config(args)
    _write(found, args, 'timm' if for_timm else args.config)
    _show(found, args.out)
    return 0


def _check(args: argparse.Namespace) -> None:
    for name, value in (('--iters-per-epoch', args.iters_per_epoch),
                        ('--processes', args.processes)):
        if value is not None and value < 1:
            raise TrickError(f'{name} must be >= 1, got {value}')
    for path in args.out:
        if Path(path).suffix.lower() not in _SUFFIXES:
            raise TrickError(f'--out must end in one of {", ".join(_SUFFIXES)}, got {path}')


def _of_config(args: argparse.Namespace) -> list[Any]:
    """The curves of a config, with its tricks and with what it is compared to."""
    from ..common.rates import EpochLength
    from ..mm.apply import apply_tricks
    from ..mm.scheduled import (
        epoch_length,
        needs_epoch_length,
        scheduled_rates,
        without_pipelines,
    )
    lengths: dict[str, EpochLength] = {}

    def curves(label: str, cfg: Any) -> list[Any]:
        effective, plan = apply_tricks(cfg)
        key = repr(without_pipelines(effective))
        if args.iters_per_epoch:
            epoch = EpochLength(args.iters_per_epoch, 'given by --iters-per-epoch')
        elif not needs_epoch_length(effective):
            epoch = None
        else:
            epoch = lengths[key] = lengths.get(key) or epoch_length(effective)
        return _noted(scheduled_rates(effective, label, epoch), plan,
                      ('param_scheduler', 'optim_wrapper', 'auto_scale_lr', 'train_cfg'))

    def other(word: str) -> tuple[str, Any]:
        if word.endswith('.py') or '::' in word:
            return config_name(word), load_config(word, None, None)
        cfg = load_config(args.config, None, {
            key: value for key, value in (args.cfg_options or {}).items()
            if key.partition('.')[0] != 'tricks'})
        cfg.pop('tricks', None)
        if word == PLAIN:
            return f'{name} as it is', cfg
        cfg.tricks = split_names(word)
        return word, cfg

    name, cfg = config_name(args.config), load_config(args.config, args.tricks, args.cfg_options)
    asked = cfg.get('tricks') is not None
    label = args.tricks or (f'{name} with its tricks' if asked else name)
    return _all((label, cfg), asked, args.against, other, curves)


def _of_timm(words: Sequence[str], args: argparse.Namespace) -> list[Any]:
    """The curves of timm's flags, with their tricks and with what they are compared to."""
    from ..common.rates import EpochLength
    with needs_timm():
        from ..timm import flags
        from ..timm.plan import plan_tricks
        from ..timm.scheduled import epoch_length, scheduled_rates
    lengths: dict[tuple[Any, ...], EpochLength] = {}

    def curves(label: str, asked: tuple[Any, Any]) -> list[Any]:
        settings, wish = asked
        final, plan = argparse.Namespace(**vars(settings.args)), None
        if wish is not None:
            final, plan, _ = plan_tricks(final, settings.given, wish, settings.config)
        if args.iters_per_epoch:
            epoch = EpochLength(args.iters_per_epoch, 'given by --iters-per-epoch')
        else:
            key = (final.data_dir, final.data, final.batch_size, final.grad_accum_steps,
                   repr(final.train_batch_sizes), final.train_batches_per_epoch)
            epoch = lengths[key] = lengths.get(key) or epoch_length(final)
        return _noted([scheduled_rates(final, settings.given, label, epoch)], plan, None)

    def other(word: str) -> tuple[str, tuple[Any, Any]]:
        if word.endswith(('.yaml', '.yml')):
            file = flags.parse(['-c', word])  # what it leaves open is as in the first run
            args = {**vars(settings.args), **{key: vars(file.args)[key] for key in (
                *file.given, 'tricks', 'trick_options')}}
            return Path(word).stem, (dataclasses.replace(
                file, args=argparse.Namespace(**args)),
                flags.trick_wish(file))
        return (word, (settings, split_names(word))) if word != PLAIN else \
            ("timm's flags as they are", (settings, None))

    settings = flags.parse(words)
    wish = flags.trick_wish(settings)
    label = settings.args.tricks or "timm's flags"
    return _all((label, (settings, wish)), wish is not None, args.against, other, curves)


def _all(
    first: tuple[str, Any], asked: bool, against: Sequence[str] | None,
    other: Callable[[str], tuple[str, Any]], curves: Callable[[str, Any], list[Any]],
) -> list[Any]:
    """Every curve; without ``--against``, the plain run beside the tricks."""
    words = list(against) if against is not None else [PLAIN] if asked else []
    runs = [first, *(other(word) for word in words)]
    labels = [label for label, _ in runs]
    return [one for number, (label, run) in enumerate(runs) for one in curves(
        label if labels.index(label) == number else f'{label} ({number + 1})', run)]


def _noted(found: list[Any], plan: Any, keys: Sequence[str] | None) -> list[Any]:
    """Says of tricks that leave the schedule alone that they do."""
    if plan is None or not plan.tricks:
        return found
    keys = keys or [key for key in plan.after if key.startswith((
        'lr', 'sched', 'warmup', 'epochs', 'min_lr', 'decay', 'cooldown', 'opt', 'momentum'))]
    if any(plan.before.get(key) != plan.after.get(key) for key in keys):
        return found
    note = 'none of these tricks changes the schedule here; tricks plan says why'
    return [dataclasses.replace(one, notes=(*one.notes, note)) for one in found]


def _write(found: list[Any], args: argparse.Namespace, title: str) -> None:
    from ..common.files import write_bytes
    from ..pictures.schedule import render
    for path in map(Path, args.out):
        data = render(found, path.suffix.lower(), title, args.log)
        try:
            write_bytes(path, data)
        except OSError as error:
            raise TrickError(f'cannot write {path}: {error.strerror}') from error


def _show(found: list[Any], paths: Sequence[str]) -> None:
    """Prints the table, how long each run is and how that is known, and what is not known."""
    from rich.console import Console

    from ..pictures.schedule import length, table
    console = Console()
    console.print(table(found))
    lines = [length(one) for one in found]
    lines += [f'{one.label}: {note}.' for one in found for note in one.notes]
    lines += [f'Written: {path}' for path in paths]
    for line in dict.fromkeys(lines):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
