"""Writes a timm recipe for one version of timm's script: classes, size, batch, length, device.

The recipe's YAML is edited as text, so that its comments stay; no YAML library is needed.
"""

from __future__ import annotations

import dataclasses
import re
import textwrap
from pathlib import Path

from tricks_plugin.plan.errors import TrickError, nearest
from tricks_plugin.plan.paths import config_folder

from .script import PREFIX_COUNTS_SINCE, Script

__all__ = ['Options', 'Printed', 'recipe_names', 'recipe_path', 'write_recipe']

EPS = 0.1  # He et al., section 5.5
_ENTRY = re.compile(r'(\w+): *(.*)$')
_PREFIX_NOTE = (
    'cooldown_epochs: {script} does not count the warm-up into the length of the run and would '
    'stop {warmup} epochs before the schedule ends; cooldown_epochs: {warmup} was added, which '
    'brings it to its end')
# What to do where a script lacks a setting.
_INSTEAD = {
    'train_img_sizes': 'it trains at one size; timm has random sizes from 1.0.29 on, so update '
                       'timm or do without',
    'amp_dtype': "AMP runs in float16, the paper's format",
    'opt_kwargs': 'timm exempts biases and norms from decay by default; to have them decayed, edit '
                  'its call of the optimizer factory',
    'model_kwargs': 'the model keeps its own initialization; edit the call of create_model',
    'lr_base': 'give --lr: 0.1 for each 256 images per update',
    'lr_base_size': 'give --lr: 0.1 for each 256 images per update',
    'lr_base_scale': 'give --lr: 0.1 for each 256 images per update',
    'sched_on_updates': 'the LR changes once per epoch, also during the warm-up',
    'warmup_prefix': 'the cosine runs below the warm-up: give --epochs the full length of the run',
    'device': 'the script picks the device by itself',
    'mixup_mode': 'it mixes by one ratio per batch',
}


@dataclasses.dataclass(frozen=True)
class Options:
    """What to write a recipe for; None leaves the recipe's own value.

    Attributes:
        classes: K, at least 2.
        img_size: Side of the images at evaluation, in px.
        batch_size: Images per process.
        epochs: Length of the whole run, warm-up included.
        device: ``cpu`` or ``cuda``.
    """

    classes: int | None = None
    img_size: int | None = None
    batch_size: int | None = None
    epochs: int | None = None
    device: str | None = None

    def __post_init__(self) -> None:
        """Raises TrickError for what no recipe can be written for."""
        for name, least in (('classes', 2), ('img_size', 1), ('batch_size', 1), ('epochs', 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                flag = name.replace('_', '-')
                raise TrickError(f'--{flag} must be {least} or more, got {value!r}')


@dataclasses.dataclass(frozen=True)
class Printed:
    """A recipe's YAML, and what the script cannot do of it: one line each."""

    text: str
    notes: tuple[str, ...]


@dataclasses.dataclass
class _Paragraph:
    """Lines between two empty lines: comments, and below them one setting or none."""

    comment: list[str]
    key: str = ''
    value: str = ''

    def lines(self) -> list[str]:
        return [*self.comment, *([f'{self.key}: {self.value}'] if self.key else [])]


class _Sheet:
    """A recipe's text, in paragraphs; the first tells what the file is."""

    def __init__(self, text: str) -> None:
        self.paragraphs = []
        for block in text.strip().split('\n\n'):
            *comment, last = block.splitlines()
            match = _ENTRY.match(last)
            self.paragraphs.append(_Paragraph(comment, *match.groups()) if match
                                   else _Paragraph([*comment, last]))

    def get(self, key: str) -> str:
        """A setting's text; empty where the recipe has none."""
        return next((p.value for p in self.paragraphs if p.key == key), '')

    def set(self, key: str, value: object, comment: str, after: str = '') -> None:
        """Changes a setting and its comment; a new one stands behind ``after`` or at the end."""
        lines = _comment(comment)
        for paragraph in self.paragraphs:
            if paragraph.key == key:
                paragraph.comment, paragraph.value = lines, str(value)
                return
        keys = [p.key for p in self.paragraphs]
        place = keys.index(after) + 1 if after in keys else len(keys)
        self.paragraphs.insert(place, _Paragraph(lines, key, str(value)))

    def drop(self, key: str) -> None:
        """Takes out a setting and its comment."""
        self.paragraphs = [p for p in self.paragraphs if p.key != key]

    def text(self) -> str:
        return '\n\n'.join('\n'.join(p.lines()) for p in self.paragraphs) + '\n'


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, 100, initial_indent='# ', subsequent_indent='# ',
                         break_long_words=False, break_on_hyphens=False)


def recipe_names() -> list[str]:
    """The names of the recipes for timm's script."""
    return sorted(path.stem for path in config_folder('timm').glob('*.yaml'))


def recipe_path(name: str) -> Path:
    """The path of a recipe, for ``train.py -c``; raises TrickError if there is no such recipe."""
    names = recipe_names()
    if name not in names:
        raise TrickError(f'unknown timm recipe {name!r}{nearest(name, names)}')
    return config_folder('timm') / f'{name}.yaml'


def write_recipe(name: str, script: Script, options: Options | None = None,
                 command: str = '') -> Printed:
    """Writes a recipe for a script, without the settings that it does not know.

    Args:
        name: Such as ``bag_of_tricks``.
        script: What the script knows.
        options: What to fit the recipe to.
        command: The command line that asked for it, for the file's first lines.

    Raises:
        TrickError: If there is no such recipe, or an option does not suit it.
    """
    options = options or Options()
    sheet = _Sheet(recipe_path(name).read_text(encoding='utf-8'))
    notes: list[str] = []
    if options.classes is not None:
        _set_classes(sheet, options.classes)
    if options.img_size is not None:
        _set_size(sheet, options.img_size, notes)
    if options.batch_size is not None:
        _set_batch(sheet, options.batch_size)
    if options.epochs is not None:
        _set_epochs(sheet, options.epochs)
    if options.device is not None:
        _set_device(sheet, options.device)
    _fit_to_script(sheet, script, notes)
    sheet.paragraphs[0] = _Paragraph(_head(name, script, command, notes))
    return Printed(sheet.text(), tuple(notes))


def _head(name: str, script: Script, command: str, notes: list[str]) -> list[str]:
    """The first lines: what the file is, and what became of settings unknown to the script."""
    lines = [f'{name}, written for {script.label}', *([f'    {command}'] if command else [])]
    head = [f'# {" ".join(line.splitlines())}' for line in lines]
    if notes:
        head.append('# Left out or changed:')
        for note in notes:
            head += textwrap.wrap(note, 100, initial_indent='# - ', subsequent_indent='#   ',
                                  break_long_words=False, break_on_hyphens=False)
    return head


def _set_classes(sheet: _Sheet, classes: int) -> None:
    """He's targets ``1 - eps`` and ``eps / (K - 1)`` as timm's ``1 - s + s/K`` and ``s/K``."""
    if float(sheet.get('smoothing') or 0):
        rest = classes - 1
        sheet.set('smoothing', repr(EPS * classes / rest), (
            f'Paper: eps={EPS}, targets 1-eps and eps/(K-1) (sections 5.2 and 5.5). '
            "timm's targets are 1-s+s/K and s/K, the same two for s = eps*K/(K-1) = "
            f'{EPS}*{classes}/{rest} (K={classes}): s/K = {EPS}/{rest}, and '
            f'1-s*{rest}/{classes} = {1 - EPS}.'))
    sheet.set('num_classes', classes, 'K, the number of classes. Must be that of smoothing.',
              after='smoothing')


def _set_size(sheet: _Sheet, size: int, notes: list[str]) -> None:
    sheet.set('img_size', size, 'Side of the images at evaluation, in px.', after='color_jitter')
    if not sheet.get('train_img_sizes'):
        return
    sizes = _training_sizes(size)
    if len(sizes) < 2:
        sheet.drop('train_img_sizes')
        notes.append('train_img_sizes: left out, as there are no two multiples of 32 of 64 px or '
                     f'more from 5/7 x {size} to {size} px; every batch has {size} px')
        return
    sheet.set('train_img_sizes', sizes, (
        'Random training sizes, one per batch; evaluation keeps its own. Paper: 224 only; the '
        'trick is that of the detectors (arXiv 1902.04103, section 3.6). Multiples of '
        f'32 px from about 5/7 x {size} to {size}. For convolutional models: transformers of '
        'fixed size need this line deleted.'))


def _training_sizes(size: int) -> list[int]:
    """Multiples of 32 px from 5/7 of a size (160 of 224) to it, rounded to the nearest.

    None below 64 px, as in the room `random_shapes`, which needs torch and is not imported here.
    """
    low, high = max(2, (5 * size + 112) // 224), (size + 16) // 32
    return [32 * count for count in range(low, high + 1)]


def _set_batch(sheet: _Sheet, batch: int) -> None:
    if float(sheet.get('mixup') or 0) and batch % 2:
        raise TrickError('--batch-size must be even: timm mixes the two halves of a batch, got '
                         f'{batch!r}')
    lr = float(sheet.get('lr_base')) * batch / int(sheet.get('lr_base_size'))
    sheet.set('batch_size', batch, (
        f'Images per process. The rule below gives an LR of {sheet.get("lr_base")} x {batch} / '
        f'{sheet.get("lr_base_size")} = {lr:.6g} for each process.'))


def _set_epochs(sheet: _Sheet, epochs: int) -> None:
    warmup = int(sheet.get('warmup_epochs'))
    if sheet.get('decay_epochs'):
        if epochs < 4:
            raise TrickError('--epochs must be 4 or more for steps at each quarter, got '
                             f'{epochs!r}')
        sheet.set('epochs', epochs, 'Paper: 120 (section 2.1).')
        sheet.set('decay_epochs', f'{epochs / 4:g}', (
            'Paper: falls at epochs 30, 60 and 90 of 120 (section 2.1). A quarter of the run of '
            f'{epochs}.'))
        return
    if epochs <= warmup:
        raise TrickError(f'--epochs must be more than the {warmup} epochs of the warm-up, got '
                         f'{epochs!r}')
    sheet.set('epochs', epochs - warmup, (
        "Paper: 200 with mixup, 120 without (section 5.5). The cosine's epochs: "
        f'{epochs} - {warmup} of warm-up.'))


def _set_device(sheet: _Sheet, device: str) -> None:
    sheet.set('device', device, 'Where to train.', after='color_jitter')
    if device == 'cpu':
        sheet.drop('pin_mem')


def _fit_to_script(sheet: _Sheet, script: Script, notes: list[str]) -> None:
    """Drops what the script does not know, and mends the length of runs of older releases."""
    warmup = sheet.get('warmup_epochs')
    if (sheet.get('warmup_prefix') == 'true' and script.knows('warmup_prefix')
            and not script.prefix_counts):
        sheet.set('cooldown_epochs', warmup, (
            f'This script would stop after `epochs`, {warmup} epochs before the cosine ends, as '
            'its warm-up is not counted; these make up for it, and the cosine runs on through '
            'them. '
            f'Delete this line for timm {PREFIX_COUNTS_SINCE} or newer.'), after='epochs')
        notes.append(_PREFIX_NOTE.format(script=script.label, warmup=warmup))
    for key in [p.key for p in sheet.paragraphs if p.key and not script.knows(p.key)]:
        sheet.drop(key)
        notes.append(f'{key}: left out, as {script.label} does not know it'
                     + (f'; {_INSTEAD[key]}' if key in _INSTEAD else ''))
