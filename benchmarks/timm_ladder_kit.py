"""What timm_ladder.py works with: the images, the statistics over seeds, the table and the plot."""

from __future__ import annotations

import hashlib
import io
import math
import os
import platform
import random
import shutil
import statistics
import tarfile
import tempfile
from pathlib import Path, PurePath
from typing import Any

from scipy.special import stdtrit

from tricks_plugin.plan.errors import TrickError

EXTENSIONS = ('.jpg', '.jpeg', '.png')  # what timm's readers take by default
TRAIN_NAMES, VAL_NAMES = ('train',), ('val', 'validation', 'valid', 'test')


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


def write_whole(path: Path, text: str) -> None:
    """Writes a file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f'.{path.name}.part')
    draft.write_text(text, encoding='utf-8')
    os.replace(draft, path)


def machine(device: str) -> str:
    """The hardware in words: system, processor and cores, and the GPU where one is used."""
    name = platform.processor() or platform.machine()
    if Path('/proc/cpuinfo').is_file():
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
        models = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
        name = models[0] if models else name
    words = f'{platform.system()}, {name}, {os.cpu_count()} cores'
    if device.startswith('cuda'):
        import torch
        words += f', {torch.cuda.get_device_name(torch.device(device))}'
    return words


def interval(values: list[float]) -> dict[str, Any]:
    """Mean and half width of its 95 % interval by Student's t; None for a single value."""
    if len(values) < 2:
        return {'mean': values[0], 'half': None}
    quantile = float(stdtrit(len(values) - 1, 0.975))
    return {'mean': statistics.fmean(values),
            'half': quantile * statistics.stdev(values) / math.sqrt(len(values))}


def summarise(names: list[str], runs: dict[tuple[str, int], dict[str, Any]]) -> dict[str, Any]:
    """The rungs over the complete seeds.

    Args:
        names: The rungs, in order.
        runs: ``(rung, seed)`` to a run's ``top1`` (%), ``train_loss``, ``eval_loss``, ``seconds``.

    Returns:
        ``seeds``, those whose rungs are all there, and per rung the mean and interval of each
        value, and of the paired differences of top-1 to the rung before and to the first.
    """
    seeds = sorted({seed for _, seed in runs})
    seeds = [seed for seed in seeds if all((name, seed) in runs for name in names)]
    rows: list[dict[str, Any]] = []
    for index, name in enumerate(names if seeds else []):
        def column(rung: str, key: str = 'top1') -> list[float]:
            return [runs[rung, seed][key] for seed in seeds]
        row: dict[str, Any] = {'rung': name, 'values': column(name)}
        for key in ('top1', 'train_loss', 'eval_loss', 'seconds'):
            row[key] = interval(column(name, key))
        others = {'previous': names[index - 1], 'first': names[0]} if index else {}
        for key, other in others.items():
            pairs = zip(column(name), column(other), strict=True)
            row[key] = interval([a - b for a, b in pairs])
        rows.append(row)
    return {'seeds': seeds, 'rungs': rows}


def markdown(summary: dict[str, Any], labels: dict[str, str]) -> str:
    """The table of `summarise`."""
    lines = ['| rung | top-1, % | to the rung before | to the first | training loss '
             '| validation loss | minutes |', '|---|---|---|---|---|---|---|']
    for row in summary['rungs']:
        gains = [_spread(row[key], '+') if key in row else '' for key in ('previous', 'first')]
        lines.append('| ' + ' | '.join([
            labels[row['rung']], _spread(row['top1']), *gains,
            f'{row["train_loss"]["mean"]:.3f}', f'{row["eval_loss"]["mean"]:.3f}',
            f'{row["seconds"]["mean"] / 60:.1f}']) + ' |')
    return '\n'.join(lines)


def _spread(value: dict[str, Any], sign: str = '') -> str:
    half = '' if value['half'] is None else f' ± {value["half"]:.2f}'
    return f'{value["mean"]:{sign}.2f}{half}'


def draw(summary: dict[str, Any], labels: dict[str, str], target: Path) -> None:
    """Draws top-1 of every seed, and the gains with their intervals, as a PNG."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot
    rows = summary['rungs']
    names = [labels[row['rung']] for row in rows]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4), layout='constrained')
    for index, seed in enumerate(summary['seeds']):
        left.plot(names, [row['values'][index] for row in rows], '.-', lw=0.7, alpha=0.6,
                  label=f'seed {seed}')
    left.plot(names, [row['top1']['mean'] for row in rows], 'k_', ms=18, mew=2, label='mean')
    left.set_ylabel('top-1 of the last epoch, %')
    left.legend(fontsize=7)
    for key, shift, word in (('previous', -0.08, 'rung before'), ('first', 0.08, 'first rung')):
        found = [row[key] for row in rows if key in row]
        right.errorbar([number + 1 + shift for number in range(len(found))],
                       [value['mean'] for value in found],
                       [value['half'] or 0.0 for value in found],
                       fmt='o', capsize=4, label=f'to the {word}')
    right.axhline(0, color='grey', lw=0.8)
    right.set_xticks(range(1, len(names)), names[1:])
    right.set_ylabel('paired difference, points (95 % interval)')
    right.legend(fontsize=7)
    for axes in (left, right):
        axes.tick_params(axis='x', rotation=20, labelsize=8)
    draft = target.with_suffix('.part.png')
    figure.savefig(draft, dpi=120)
    pyplot.close(figure)
    os.replace(draft, target)
