"""The bag's ladder on real images: each rung adds one trick, over several seeds.

    python benchmarks/timm_ladder.py DATA [--preset quick|cpu|full] [--seeds N] [--out DIR]
    python benchmarks/timm_ladder.py DATA --trainer TIMM/train.py    the same by timm's own script
    python benchmarks/timm_ladder.py --report-only --out DIR         tables what is complete

DATA is a folder with train.tar and val.tar (or class folders train/ and val/), or the training
images alone with --val beside them; CIFAR-10 is what the presets are made for.

The rungs, of arXiv 1812.01187 sections 3.1 and 5: step decay (a tenth at 30, 60 and 90 % of
the run; no smoothing, weight decay on every parameter, gamma of the last norm in a branch zero as
timm has it); warm-up and cosine in place of the steps; no decay on norms and biases; label
smoothing (0.1 spread over the other classes); mixup (alpha 0.2, arXiv 1710.09412).

All rungs see the same images for the same number of epochs, warm-up included; a seed's runs start
from the same weights. What counts is top-1 after the last epoch, so nothing is chosen on the
validation images. Each run is a process with a folder of its own; a finished one is taken as it is
when the command is given again, a killed one is repeated.

The presets are sized so that the first rung overfits, as smoothing and mixup need it. ``cpu``: 250
images of each class for 60 epochs, a ResNet-18 of half the width with a deep stem; what came of it
is in docs/timm.md. ``quick`` is the same in small, some ten minutes, too short to judge by;
``full``, not run yet, is all of CIFAR-10 on a GPU, at 64 px because timm's stems shrink the image
by four.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from timm_ladder_kit import draw, find_splits, markdown, prepare, summarise, write_whole
from timm_ladder_runs import Job, execute, locked

from tricks_plugin.cli import run_door
from tricks_plugin.functional import convert_eps, decay_points
from tricks_plugin.plan.errors import TrickError

TRAINER = Path(__file__).resolve().parents[1] / 'tools' / 'timm_train.py'
EPS, ALPHA, STEPS = 0.1, 0.2, (0.3, 0.6, 0.9)
LABELS = {'step_decay': 'step decay', 'cosine_warmup': '+ warm-up and cosine',
          'no_bias_decay': '+ no bias decay', 'label_smoothing': '+ label smoothing',
          'mixup': '+ mixup'}
RUNGS = list(LABELS)
_SMALL = dict(
    images_per_class=250, val_images_per_class=0, epochs=60, seeds=3, model='resnet18',
    model_kwargs=['channels=(32,64,128,256)', 'stem_type=deep', 'stem_width=16'], image_size=32,
    batch_size=128, lr_base=0.2, weight_decay=5e-4, val_interval=20, device='cpu', jobs=2,
    workers=0, trainer_flags=['--channels-last'])
PRESETS: dict[str, dict[str, Any]] = {
    'quick': {**_SMALL, 'images_per_class': 125, 'epochs': 40, 'seeds': 2,
              'val_images_per_class': 200},
    'cpu': _SMALL,
    'full': dict(
        images_per_class=0, val_images_per_class=0, epochs=200, seeds=5, model='resnet18',
        model_kwargs=['stem_type=deep', 'stem_width=32'], image_size=64, batch_size=128,
        lr_base=0.2, weight_decay=5e-4, val_interval=10, device='cuda', jobs=1, workers=8,
        trainer_flags=['--channels-last', '--amp', '--amp-dtype', 'bfloat16', '--pin-mem']),
}


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The settings: the preset's, where the command line does not say otherwise."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or '').split('\n\n')[0],
        epilog='Everything after --trainer-flags goes to every run as it is.')
    parser.add_argument('data', nargs='?', metavar='DATA')
    parser.add_argument('--val', metavar='PATH', help='validation images, a tar or a folder')
    parser.add_argument('--preset', choices=PRESETS, default='cpu')
    parser.add_argument('--quick', action='store_const', const='quick', dest='preset')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/timm_ladder'), metavar='DIR')
    parser.add_argument('--trainer', type=Path, metavar='FILE',
                        help="timm's own train.py; the tricks then stand as plain flags")
    parser.add_argument('--first-seed', type=int, default=0, metavar='N')
    parser.add_argument('--warmup-epochs', type=int, metavar='N', help='default: a twentieth')
    parser.add_argument('--report-only', action='store_true', help='runs nothing')
    for name, value in _SMALL.items():
        flag = '--' + name.replace('_', '-')
        if isinstance(value, list):
            count = argparse.REMAINDER if name == 'trainer_flags' else '*'
            parser.add_argument(flag, nargs=count)
        else:
            parser.add_argument(flag, type=type(value), metavar='N' if value else None)
    args = parser.parse_args(argv)
    for name, value in PRESETS[args.preset].items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if args.warmup_epochs is None:
        args.warmup_epochs = min(5, max(1, args.epochs // 20))
    for name in ('epochs', 'seeds', 'jobs', 'batch_size', 'image_size', 'val_interval'):
        if getattr(args, name) < 1:
            raise TrickError(f'--{name.replace("_", "-")} must be at least 1, '
                             f'got {getattr(args, name)}')
    try:
        decay_points(args.epochs, STEPS)
    except ValueError as error:
        raise TrickError(f'--epochs: {error}') from None
    if not 0 < args.warmup_epochs < args.epochs:
        raise TrickError(f'--warmup-epochs must be at least 1 and less than --epochs {args.epochs},'
                         f' got {args.warmup_epochs}')
    if not args.report_only and args.data is None:
        raise TrickError('DATA is missing: a folder with train.tar and val.tar')
    return args


def rung_flags(number: int, args: argparse.Namespace, classes: int) -> list[str]:
    """What tells rung ``number`` (from 0) from the others, as flags of the trainer."""
    epochs, warmup = args.epochs, args.warmup_epochs
    if args.trainer is None:
        options = {'cosine_warmup': [f'cosine_warmup.warmup_epochs={warmup}'],
                   'label_smoothing': [f'label_smoothing.eps={EPS}', 'label_smoothing.variant=he'],
                   'mixup': [f'mixup.alpha={ALPHA}']}
        tricks = RUNGS[1:number + 1] or RUNGS[:1]
        given = [option for trick in tricks for option in options.get(trick, [])]
        flags = ['--tricks', ','.join(tricks), '--epochs', f'{epochs}']
        flags += ['--trick-options', *given] if given else []
    elif number == 0:
        # timm's multistep falls one epoch before its milestones.
        points = [point + 1 for point in decay_points(epochs, STEPS)]
        flags = ['--sched', 'multistep', '--decay-milestones', *map(str, points),
                 '--decay-rate', '0.1', '--warmup-epochs', '0', '--epochs', f'{epochs}']
    else:
        flags = ['--sched', 'cosine', '--sched-on-updates', '--warmup-lr', '0', '--warmup-prefix',
                 '--warmup-epochs', f'{warmup}', '--epochs', f'{epochs - warmup}']
    if number < 2:
        flags += ['--opt-kwargs', 'filter_bias_and_bn=False']
    if number < 3:
        flags += ['--smoothing', '0']
    elif args.trainer is not None:
        flags += ['--smoothing', repr(convert_eps(EPS, classes, 'he', 'szegedy'))]
    if number == 4 and args.trainer is not None:
        flags += ['--mixup', f'{ALPHA}']
    return flags


def command_of(number: int, seed: int, data: Path, classes: int,
               args: argparse.Namespace) -> list[str]:
    """The whole command of a run; its results go to ``runs/seedN/RUNG`` under ``--out``."""
    size = str(args.image_size)
    script = TRAINER if args.trainer is None else args.trainer.resolve()
    return [
        sys.executable, str(script), '--data-dir', str(data.resolve()),
        '--train-split', 'train.tar', '--val-split', 'val.tar', '--num-classes', str(classes),
        '--model', args.model, '--model-kwargs', *args.model_kwargs,
        '--input-size', '3', size, size, '--crop-pct', '1.0', '--scale', '0.8', '1.0',
        '--ratio', '0.9', '1.1', '--color-jitter', '0', '--interpolation', 'bilinear',
        '--train-interpolation', 'bilinear', '--device', args.device, '-j', str(args.workers),
        '-b', str(args.batch_size), '--lr-base', f'{args.lr_base:g}', '--weight-decay',
        f'{args.weight_decay:g}', '--val-interval', str(args.val_interval), '--checkpoint-hist',
        '1', '--log-interval', '1000', *args.trainer_flags, *rung_flags(number, args, classes),
        '--seed', str(seed), '--output', str(args.out.resolve() / 'runs' / f'seed{seed}'),
        '--experiment', RUNGS[number]]


def report(args: argparse.Namespace, console: Console) -> None:
    """Writes ladder.md, ladder.json and ladder.png from the finished runs.

    Raises:
        TrickError: If no seed is complete.
    """
    records = [json.loads(path.read_text()) for path in args.out.glob('runs/*/*/done.json')]
    summary = summarise(RUNGS, {(one['rung'], one['seed']): one for one in records})
    if not summary['seeds']:
        raise TrickError(f'{args.out} has no seed whose {len(RUNGS)} rungs are all finished')
    settings = json.loads((args.out / 'settings.json').read_text())
    text = markdown(summary, LABELS)
    write_whole(args.out / 'ladder.md', text + '\n')
    write_whole(args.out / 'ladder.json', json.dumps(
        {'settings': settings, **summary, 'runs': records}, indent=1))
    draw(summary, LABELS, args.out / 'ladder.png')
    machines = sorted({one['machine'] for one in records})
    console.print(text, highlight=False, markup=False, soft_wrap=True)
    console.print(f'\nSeeds {summary["seeds"]}; mean and 95 % interval over seeds; the training '
                  'loss of the last two rungs is that of softened targets. '
                  f'{"; ".join(machines)}. Written: {args.out}/ladder.md, .json, .png',
                  highlight=False, markup=False, soft_wrap=True)


def keep_settings(args: argparse.Namespace) -> None:
    """Writes settings.json, and refuses a folder that holds a ladder of other settings."""
    free = ('seeds', 'first_seed', 'jobs', 'report_only', 'out', 'preset')
    settings = {name: str(value) if isinstance(value, Path) else value
                for name, value in vars(args).items() if name not in free}
    path = args.out / 'settings.json'
    known = json.loads(path.read_text()) if path.is_file() else settings
    odd = [f'{name} {known.get(name)!r}, here {value!r}'
           for name, value in settings.items() if known.get(name) != value]
    if odd:
        raise TrickError(f'--out {args.out} holds a ladder of other settings ({"; ".join(odd)}): '
                         'give another folder')
    write_whole(path, json.dumps(settings, indent=1))


def run_all(args: argparse.Namespace, console: Console) -> None:
    """Makes the data and runs what is not finished yet, seed by seed.

    Raises:
        TrickError: If a setting or the data is wrong.
        RuntimeError: If a run fails.
    """
    splits = find_splits(args.data, args.val)
    if args.trainer is not None and not args.trainer.is_file():
        raise TrickError(f'--trainer {args.trainer} is not there')
    with locked(args.out) as lock:
        keep_settings(args)
        counts = (args.images_per_class, args.val_images_per_class)
        data, classes = prepare(*splits, *counts, args.out)
        jobs = [Job(rung, seed, command_of(number, seed, data, classes, args), args)
                for seed in range(args.first_seed, args.first_seed + args.seeds)
                for number, rung in enumerate(RUNGS)]
        execute([job for job in jobs if not job.finished()], args.jobs, lock, console)


def main(argv: list[str] | None = None) -> int:
    args, console = parse(argv), Console()
    try:
        if not args.report_only:
            run_all(args, console)
    except RuntimeError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    report(args, console)
    return 0


if __name__ == '__main__':
    sys.exit(run_door(main))
