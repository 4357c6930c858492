"""Shows what a sample's reading, decoding and transforms take, without training."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..common.files import write_json
from ..plan.errors import TrickError
from .common import Parser, add_config_arguments, load_config, parse_for_either

__all__ = ['chart', 'main', 'report']

_PICTURES = ('.png', '.svg', '.pdf')
_COLORS = dict(reading='#b3581b', decoding='#d9a441', transform='#3b6ea5', dataset='#7a7a7a',
               batching='#4f8f5b')


def _parser(prog: str | None, for_timm: bool) -> argparse.ArgumentParser:
    parser = Parser(
        prog=f'{prog or "profile"} timm' if for_timm else prog, allow_abbrev=False,
        description="Shows what a sample's reading, decoding and transforms take in a worker "
                    'process, and how many workers a step needs, without training.',
        epilog="All other words are timm's: DATA --model NAME ..., and --tricks." if for_timm else
               "With timm's flags: profile timm DATA --model NAME ...; exit status 2, with one "
               'line on stderr, when the config, a trick, a flag or the data is wrong.')
    if not for_timm:
        parser.add_argument('config', help='config file, or PACKAGE::PATH of an installed zoo')
        add_config_arguments(parser)
    parser.add_argument('--samples', type=int, default=32, metavar='N',
                        help='real samples to measure (default: 32)')
    parser.add_argument('--step-time', type=float, metavar='MS',
                        help='milliseconds of an iteration without waiting (default: those of the '
                             "last run in the config's work dir, if there was one)")
    parser.add_argument('--json', nargs='?', const='-', metavar='FILE',
                        help='write one JSON object to FILE too, or print it in place of the table')
    parser.add_argument('--out', metavar='FILE',
                        help=f'draw a bar chart ({", ".join(_PICTURES)})')
    return parser


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Measures and prints.

    Args:
        argv: The words after the program's name; by default the process's. After ``timm`` as the
            first one, timm's flags are read.
        prog: The program's name in messages.

    Raises:
        TrickError: If the config, a trick, a flag or the data is wrong.
    """
    args, flags, for_timm = parse_for_either(argv, prog, _parser)
    _check(args)
    # Libraries that are imported while loading may print; stdout belongs to the figures.
    with contextlib.redirect_stdout(sys.stderr):
        found = _of_timm(flags, args) if for_timm else _of_config(args)
    try:
        if args.out:
            chart(found, Path(args.out))
        if args.json and args.json != '-':
            write_json(Path(args.json), found)
    except OSError as error:
        raise TrickError(f'cannot write {error.filename}: {error.strerror}') from error
    if args.json == '-':
        print(json.dumps(found, indent=2))
    else:
        _show(found)
    return 0


def _check(args: argparse.Namespace) -> None:
    if args.samples < 1:
        raise TrickError(f'--samples must be >= 1, got {args.samples}')
    if args.step_time is not None and not 0 < args.step_time < float('inf'):
        raise TrickError(f'--step-time must be milliseconds > 0, got {args.step_time:g}')
    if args.out and Path(args.out).suffix.lower() not in _PICTURES:
        raise TrickError(f'--out must end in one of {", ".join(_PICTURES)}, got {args.out}')


def _of_config(args: argparse.Namespace) -> dict[str, Any]:
    """The figures of an mmdet config."""
    from mmengine.registry import init_default_scope
    from mmengine.runner import Runner
    from mmengine.utils.dl_utils import set_multi_processing

    from ..common.waiting.monitor import read_record
    from ..mm.apply import apply_tricks
    from ..mm.sample_times import instrument, pipeline_of
    cfg, _ = apply_tricks(load_config(args.config, args.tricks, args.cfg_options))
    if not isinstance(cfg.get('train_dataloader'), dict):
        raise TrickError(f'{args.config} has no train_dataloader')
    init_default_scope(cfg.get('default_scope') or 'mmdet')
    set_multi_processing(**(cfg.get('env_cfg') or {}).get('mp_cfg', {}))
    try:
        loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    except Exception as error:  # a dataset is a program: building it may raise anything
        raise TrickError(f'cannot build the training data of {args.config}: '
                         f'{type(error).__name__}: {" ".join(str(error).split())}') from error
    step = args.step_time
    if step is None:
        folder = cfg.get('work_dir') or Path('work_dirs') / Path(args.config).stem
        record = read_record(Path(folder))
        step = record['step_ms'] if record else None
    return report(args.config, loader, pipeline_of(loader.dataset), instrument, args.samples, step)


def _of_timm(words: Sequence[str], args: argparse.Namespace) -> dict[str, Any]:
    """The figures of timm's flags; the model is built, as its settings decide over the images."""
    from ..timm import checks, flags
    from ..timm.build import build_run
    from ..timm.plan import plan_tricks
    from ..timm.sample_times import instrument, pipeline_of
    from ..timm.settings import changed, prepare
    settings = flags.parse(words)
    wish = flags.trick_wish(settings)
    final = argparse.Namespace(**vars(settings.args))
    if wish is not None:
        final, _, _ = plan_tricks(final, settings.given, wish, settings.config)
    checks.check(final, settings.given)
    # Nothing is trained: no weights, no device.
    final = changed(final, device='cpu', torchcompile=None, pretrained=False, resume='',
                    initial_checkpoint='', pretrained_path=None)
    run = build_run(*prepare(final))
    loader = getattr(run.loader_train, 'loader', run.loader_train)
    return report(f'timm {final.model} {final.data_dir or final.data}', loader,
                  pipeline_of(loader.dataset), instrument, args.samples, args.step_time)


def report(
    name: str, loader: Any, pipeline: list[str], instrument: Any, samples: int,
    step_ms: float | None,
) -> dict[str, Any]:
    """What the samples of a loader take, and what follows for its workers.

    Args:
        name: What is measured.
        loader: A DataLoader.
        pipeline: The names of its dataset's steps.
        instrument: See `tricks_plugin.common.sample_times`.
        samples: How many to measure.
        step_ms: Milliseconds of an iteration without waiting, if they are known.

    Raises:
        TrickError: If the samples cannot be loaded.
    """
    from ..common.processes import processors, world_size
    from ..common.sample_times import probe_now
    from ..common.waiting.arithmetic import slowest_step, waiting_share, workers_needed
    from ..common.waiting.monitor import describe
    try:
        times = probe_now(loader, instrument, samples)
    except RuntimeError as error:
        raise TrickError(f'cannot load the training samples of {name}: {error}') from error
    settings, at = describe(loader, pipeline, world_size(), processors(), 0)
    found = dict(
        what=name, workers=at.workers, batch_size=at.batch_size, processors=at.processors,
        settings=settings, sample=times.to_dict(), images_per_second_per_worker=times.rate,
        images_per_second=at.batch_size / slowest_step(times.seconds, at.batch_size, at.workers),
        fastest_step_ms=1e3 * slowest_step(times.seconds, at.batch_size, at.workers),
        step_ms=step_ms)
    if step_ms is not None:
        step = step_ms / 1e3
        found.update(
            workers_needed=workers_needed(times.seconds, at.batch_size, step),
            processors_busy=at.batch_size * times.cpu_seconds / step,
            waiting_share=waiting_share(times.seconds, at.batch_size, step, at.workers))
    return found


def _show(found: dict[str, Any]) -> None:
    """Prints the table and what follows."""
    from rich.console import Console
    from rich.table import Table
    sample = found['sample']
    table = Table(title=f'{found["what"]}: {sample["samples"]} samples in one worker',
                  title_justify='left')
    table.add_column('step')
    table.add_column('kind')
    table.add_column('ms per image', justify='right')
    table.add_column('share', justify='right')
    for part in sample['parts']:
        table.add_row(part['name'], part['kind'], f'{part["ms"]:.2f}',
                      f'{part["ms"] / sample["ms"]:.0%}')
    table.add_section()
    table.add_row('all', '', f'{sample["ms"]:.2f}', '100%')
    console = Console()
    console.print(table)
    for line in _sentences(found):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _sentences(found: dict[str, Any]) -> list[str]:
    workers, size = found['workers'], found['batch_size']
    lines = [f'One worker: {found["images_per_second_per_worker"]:.1f} images/s '
             f'({found["sample"]["cpu_ms"]:.1f} ms of an image are work of the processor).',
             f'{workers} workers, as set: {found["images_per_second"]:.1f} images/s; a batch of '
             f'{size} every {found["fastest_step_ms"]:.0f} ms, on {found["processors"]} '
             'processors or more.' if workers else
             f'No workers, as set: the training itself takes {found["fastest_step_ms"]:.0f} ms for '
             f'a batch of {size}.']
    if found['step_ms'] is not None:
        lines.append(f'A step of {found["step_ms"]:.0f} ms needs {found["workers_needed"]} '
                     f'workers, which keep {found["processors_busy"]:.1f} processors busy; with '
                     f'{workers} it waits for {found["waiting_share"]:.0%} of the time.')
    return lines


def chart(found: dict[str, Any], path: Path) -> None:
    """Draws the milliseconds of each part as bars.

    Args:
        found: See `report`.
        path: The picture; its suffix decides on the format.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch
    parts = found['sample']['parts']
    figure = Figure(figsize=(8, 1.2 + 0.35 * len(parts)), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.barh([part['name'] for part in parts], [part['ms'] for part in parts],
              color=[_COLORS[part['kind']] for part in parts])
    axes.invert_yaxis()
    axes.set_xlabel('ms per image')
    rate = found['images_per_second_per_worker']
    axes.set_title(f'{found["what"]}: {found["sample"]["ms"]:.1f} ms, {rate:.0f} images/s in one '
                   'worker', fontsize=9)
    axes.legend(handles=[Patch(color=_COLORS[kind], label=kind)
                         for kind in dict.fromkeys(part['kind'] for part in parts)], fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
