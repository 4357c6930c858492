"""The bag's ladder on real images: each rung adds one trick, over several seeds.

    python benchmarks/timm_ladder.py DATA [--preset quick|cpu|full] [--seeds N] [--out DIR]
    python benchmarks/timm_ladder.py DATA --models A B ... --out DIR  a chart: with and without
    python benchmarks/timm_ladder.py --report-only --out DIR         tables what is there

DATA is a folder with train.tar and val.tar (or class folders train/ and val/), or the training
images alone with --val beside them; CIFAR-10 is what the presets are made for. This chooses the
images and calls ``tricks ablate timm --mode stack --arms ...``, which trains, goes on after an
interruption, and writes the tables and the report.

The rungs, of arXiv 1812.01187 sections 3.1 and 5: step decay (a tenth at 30, 60 and 90 % of
the run; no smoothing, weight decay on every parameter, gamma of the last norm in a branch zero as
timm has it); warm-up and cosine in place of the steps; no decay on norms and biases; label
smoothing (0.1 spread over the other classes); mixup (alpha 0.2, arXiv 1710.09412).

With --models each model trains without the bag (the first rung) and with the recipe bag_of_tricks,
and the report charts accuracy against throughput and training time.

All rungs see the same images for the same number of epochs, warm-up included; a seed's runs start
from the same weights. What counts is top-1 after the last epoch, so nothing is chosen on the
validation images.

The presets are sized so that the first rung overfits, as smoothing and mixup need it. ``cpu``: 250
images of each class for 60 epochs, a ResNet-18 of half the width with a deep stem; what came of it
is in docs/timm.md. ``quick`` is the same in small, some ten minutes, too short to judge by;
``full``, not run yet, is all of CIFAR-10 on a GPU, at 64 px because timm's stems shrink the image
by four.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import random
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path, PurePath
from typing import Any

from tricks_plugin.cli import ablate, run_door
from tricks_plugin.functional import decay_points
from tricks_plugin.plan.errors import TrickError

EPS, ALPHA, STEPS = 0.1, 0.2, (0.3, 0.6, 0.9)
EXTENSIONS = ('.jpg', '.jpeg', '.png')  # what timm's readers take by default
TRAIN_NAMES, VAL_NAMES = ('train',), ('val', 'validation', 'valid', 'test')
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
    parser.add_argument('--models', nargs='+', metavar='NAME',
                        help='a chart of these models in place of the ladder')
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
        if getattr(args, name) is None:  # a preset's model_kwargs are those of its own model
            setattr(args, name, [] if args.models and name == 'model_kwargs' else value)
    if args.warmup_epochs is None:
        args.warmup_epochs = min(5, max(1, args.epochs // 20))
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


def arms(warmup_epochs: int) -> list[str]:
    """The rungs as ``--arms`` of `tricks ablate timm`: the first, and one more trick in each."""
    options = {'cosine_warmup': [f'tricks.cosine_warmup.warmup_epochs={warmup_epochs}'],
               'label_smoothing': [f'tricks.label_smoothing.eps={EPS}',
                                   'tricks.label_smoothing.variant=he'],
               'mixup': [f'tricks.mixup.alpha={ALPHA}']}
    found = []
    for number, rung in enumerate(RUNGS):
        tricks = RUNGS[1:number + 1] or RUNGS[:1]
        parts = [f'{rung if number else "plain"}={",".join(tricks)}', f'label={LABELS[rung]}']
        parts += [option for trick in tricks for option in options.get(trick, [])]
        parts += ['--opt-kwargs filter_bias_and_bn=False'] if number < 2 else []
        parts += ['--smoothing 0'] if number < 3 else []
        found.append(';'.join(parts))
    return found


def chart_arms(warmup_epochs: int) -> list[str]:
    """The first rung and the recipe, as ``--arms``."""
    first = arms(warmup_epochs)[0].replace(f'label={LABELS[RUNGS[0]]}', 'label=without the bag')
    return [first, 'bag=bag_of_tricks;label=bag_of_tricks;'
            f'tricks.cosine_warmup.warmup_epochs={warmup_epochs}']


def words(args: argparse.Namespace, data: Path, classes: int) -> list[str]:
    """The command line of `tricks ablate`."""
    size = str(args.image_size)
    kwargs = ['--model-kwargs', *args.model_kwargs] if args.model_kwargs else []
    what = ['--models', *args.models, '--arms', *chart_arms(args.warmup_epochs)] if args.models \
        else ['--mode', 'stack', '--arms', *arms(args.warmup_epochs)]
    return [
        'timm', *what, '--seeds', str(args.seeds), '--first-seed', str(args.first_seed),
        '--jobs', str(args.jobs), '--out', str(args.out), '--', str(data),
        '--train-split', 'train.tar', '--val-split', 'val.tar', '--num-classes', str(classes),
        *([] if args.models else ['--model', args.model]), *kwargs,
        '--input-size', '3', size, size, '--crop-pct', '1.0', '--scale', '0.8', '1.0',
        '--ratio', '0.9', '1.1', '--color-jitter', '0', '--interpolation', 'bilinear',
        '--train-interpolation', 'bilinear', '--device', args.device, '-j', str(args.workers),
        '-b', str(args.batch_size), '--lr-base', f'{args.lr_base:g}', '--weight-decay',
        f'{args.weight_decay:g}', '--val-interval', str(args.val_interval), '--epochs',
        str(args.epochs), '--log-interval', '1000', *args.trainer_flags]


def find_splits(data: str, val: str | None) -> tuple[Path, Path]:
    """Where the training and the validation images lie.

    Args:
        data: A folder with train.tar and val.tar or train/ and val/, or the training images alone
            as a tar or a folder of class folders.
        val: The validation images, where ``data`` has the training images alone.

    Raises:
        TrickError: If something is not there, or it is not clear what is meant.
    """
    root = Path(data)
    if not root.exists():
        raise TrickError(f'DATA {data} is not there')
    if val is not None:
        if not Path(val).exists():
            raise TrickError(f'--val {val} is not there')
        return root, Path(val)
    if not root.is_dir():
        raise TrickError(f'DATA {data} holds the training images alone: give the others by --val')
    found = []
    for names in (TRAIN_NAMES, VAL_NAMES):
        places = [root / f'{name}{end}' for name in names for end in ('.tar', '')]
        place = next((place for place in places if place.exists()), None)
        if place is None:
            raise TrickError(f'DATA {data} must hold {names[0]}.tar or a folder {names[0]}/, or be '
                             'the training images with --val beside it')
        found.append(place)
    return found[0], found[1]


class Images:
    """The images of a tar or folder by class, the name of the innermost folder.

    Attributes:
        sizes: Class to the names within the source, sorted, each with its bytes.

    Raises:
        TrickError: If there are no images in class folders.
    """

    def __init__(self, source: Path) -> None:
        self.source = source
        self._tar: tarfile.TarFile | None = None
        if source.is_dir():
            files = [(str(path.relative_to(source)), path.stat().st_size)
                     for path in source.rglob('*') if path.suffix.lower() in EXTENSIONS]
        else:
            try:
                self._tar = tarfile.open(source)  # noqa: SIM115  read again later on
                files = [(member.name, member.size) for member in self._tar if member.isfile()]
            except (tarfile.TarError, OSError) as error:
                raise TrickError(f'{source} is no tar that can be read: {error}') from error
        self.sizes: dict[str, dict[str, int]] = {}
        for name, size in sorted(files):
            path = PurePath(name)
            if path.suffix.lower() in EXTENSIONS and path.parent.name:
                self.sizes.setdefault(path.parent.name, {})[name] = size
        if not self.sizes:
            raise TrickError(f'{source} holds no images ({", ".join(EXTENSIONS)}) in class folders')

    def read(self, name: str) -> bytes:
        """The bytes of an image's file."""
        if self._tar is None:
            return (self.source / name).read_bytes()
        member = self._tar.extractfile(name)
        if member is None:
            raise TrickError(f'{self.source}: {name} is no plain file')
        return member.read()

    def choose(self, per_class: int) -> dict[str, dict[str, int]]:
        """The same number of images of each class, the same at every call; all of them for 0.

        Raises:
            TrickError: If a class has fewer.
        """
        chosen = {}
        for label, sizes in sorted(self.sizes.items()):
            if len(sizes) < per_class:
                raise TrickError(f'{self.source}: class {label!r} has {len(sizes)} images, fewer '
                                 f'than the {per_class} asked for')
            names = random.Random(f'ladder {label}').sample(list(sizes), per_class or len(sizes))
            chosen[label] = {name: sizes[name] for name in sorted(names)}
        return chosen


def prepare(
    train: Path, val: Path, per_class: int, val_per_class: int, out: Path,
) -> tuple[Path, int]:
    """A folder with train.tar and val.tar of the chosen images, under ``out``, and the count
    of classes; made once.

    The folder's name follows from the choice, and it appears only when it is whole.

    Raises:
        TrickError: If the images do not suffice, or the two have other classes.
    """
    splits = {'train': (Images(train), per_class), 'val': (Images(val), val_per_class)}
    odd = sorted(set(splits['train'][0].sizes) ^ set(splits['val'][0].sizes))
    if odd:
        raise TrickError(f'{train} and {val} have other classes: {odd[0]!r} is in one of them only')
    chosen = {name: images.choose(count) for name, (images, count) in splits.items()}
    counts = [sum(map(len, labels.values())) for labels in chosen.values()]
    key = hashlib.sha256(repr(chosen).encode()).hexdigest()[:10]
    folder = out / f'data-{counts[0]}-{counts[1]}-{key}'
    if folder.is_dir():
        return folder, len(chosen['train'])
    out.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix='.data-', dir=out))
    try:
        for name, (images, _) in splits.items():
            _write_tar(draft / f'{name}.tar', images, chosen[name])
        draft.chmod(0o755)  # a temporary folder is its owner's alone
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder, len(chosen['train'])


def _write_tar(target: Path, images: Images, chosen: dict[str, dict[str, int]]) -> None:
    """Writes ``class/number.jpg``; the number keeps the names of nested folders apart."""
    with tarfile.open(target, 'w') as tar:
        for label, names in chosen.items():
            for number, name in enumerate(names):
                content = images.read(name)
                entry = tarfile.TarInfo(f'{label}/{number:06d}{PurePath(name).suffix.lower()}')
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))


def command(argv: list[str] | None) -> list[str]:
    """The words of `tricks ablate` for those of this benchmark; makes the images' folder."""
    args = parse(argv)
    if args.report_only:
        return ['timm', '--report-only', '--out', str(args.out)]
    return words(args, *prepare(*find_splits(args.data, args.val), args.images_per_class,
                                args.val_images_per_class, args.out))


def main(argv: list[str] | None = None) -> int:
    return ablate.main(command(argv))


if __name__ == '__main__':
    sys.exit(run_door(main))
