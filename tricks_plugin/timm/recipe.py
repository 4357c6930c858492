"""Writes a recipe for one version of timm's script: classes, size, batch, length, device.

The settings are those that the trainer takes for the same wish, from the same plan.
"""

from __future__ import annotations

import argparse
import dataclasses
import textwrap
from collections.abc import Collection
from pathlib import Path

import yaml

from tricks_plugin.plan import TrickPlan
from tricks_plugin.plan.errors import TrickError, nearest
from tricks_plugin.plan.paths import config_folder

from . import flags
from .checks import check_settings
from .recipe_lines import RECIPES
from .script import PREFIX_COUNTS_SINCE, Script
from .settings import changed

__all__ = ['Options', 'Printed', 'planned', 'recipe_names', 'recipe_path', 'write_recipe']

# Where nothing is said of the machine: a GPU of NVIDIA's Ampere or newer.
_GPU = {'gpu': True, 'bfloat16': True}
_PAPER = ('"Paper" below is He et al., Bag of Tricks for Image Classification with CNNs, arXiv '
          '1812.01187. Flags on the command line win over this file.')
_PREFIX_NOTE = (
    'cooldown_epochs: {script} does not count the warm-up into the length of the run and would '
    'stop {warmup} epochs before the schedule ends; cooldown_epochs: {warmup} was added, which '
    'brings it to its end')
_COOLDOWN = (
    'This script would stop after `epochs`, {warmup} epochs before the cosine ends, as its warm-up '
    'is not counted; these make up for it, and the cosine runs on through them. Delete this line '
    f'for timm {PREFIX_COUNTS_SINCE} or newer.')


@dataclasses.dataclass(frozen=True)
class Options:
    """What to write a recipe for; None leaves the recipe's own value, or timm's.

    Attributes:
        num_classes: K.
        img_size: Side of the images at evaluation, in px.
        batch_size: Images per process.
        epochs: Length of the whole run, warm-up included.
        device: ``cpu``, or ``cuda`` for the GPU of this machine; None for a current GPU.
        model: A model's name.
    """

    num_classes: int | None = None
    img_size: int | None = None
    batch_size: int | None = None
    epochs: int | None = None
    device: str | None = None
    model: str | None = None

    def words(self) -> list[str]:
        """The same as a command line of the trainer."""
        return [f'--{name.replace("_", "-")}={value}' for name, value in vars(self).items()
                if value is not None]


@dataclasses.dataclass(frozen=True)
class Printed:
    """A recipe's YAML, and what is not done of it: one line each."""

    text: str
    notes: tuple[str, ...]


def recipe_names() -> list[str]:
    """The names of the recipes for timm's script."""
    return sorted(RECIPES)


def recipe_path(name: str) -> Path:
    """The path of a recipe, for ``train.py -c``; raises TrickError if there is no such recipe."""
    if name not in RECIPES:
        raise TrickError(f'unknown timm recipe {name!r}{nearest(name, RECIPES)}')
    return config_folder('timm') / f'{name}.yaml'


def planned(name: str, options: Options) -> tuple[argparse.Namespace, list[str]]:
    """The settings of a recipe, as ``--tricks`` has them.

    Args:
        name: Such as ``bag_of_tricks``.
        options: What to fit it to.

    Returns:
        The settings, and why a trick of the recipe means nothing there: one line each.

    Raises:
        TrickError: As the trainer does for the same flags; without timm and torch.
    """
    recipe_path(name)
    settings = flags.parse(options.words())
    try:
        from .plan import plan_tricks
        args, plan, _ = plan_tricks(settings.args, settings.given, name,
                                    machine=None if options.device else _GPU)
    except ModuleNotFoundError as error:
        raise TrickError('a recipe is planned by timm and torch, which must be installed, got no '
                         f'{error.name}') from error
    check_settings(args, settings.given)
    return args, [f'{row.name}: {_left_out(row)}' for row in plan.tricks
                  if row.status in ('not_applicable', 'held_back')]


def _left_out(row: TrickPlan) -> str:
    """Why a trick changes nothing; without what a wish of the trainer's would do about it."""
    reason, _, _ = row.reason.partition('; --tricks ...')
    return f'held back, as {reason}' if row.status == 'held_back' else reason


def write_recipe(name: str, script: Script, options: Options | None = None,
                 command: str = '') -> Printed:
    """Writes a recipe for a script, without the settings that it does not know.

    Args:
        name: Such as ``bag_of_tricks``.
        script: What the script knows.
        options: What to fit the recipe to.
        command: The command line that asked for it, for the file's first lines.

    Raises:
        TrickError: If there is no such recipe, or the trainer refuses the same.
    """
    args, notes = planned(name, options or Options())
    lines = _lines(name, args)
    warmup = args.warmup_epochs
    if args.warmup_prefix and warmup and script.knows('warmup_prefix') and not script.prefix_counts:
        args = changed(args, cooldown_epochs=warmup)
        lines['cooldown_epochs'] = _COOLDOWN.format(warmup=warmup)
        notes.append(_PREFIX_NOTE.format(script=script.label, warmup=warmup))
    for key in [key for key in lines if key.isidentifier() and not script.knows(key)]:
        del lines[key]
        notes.append(f'{key}: left out, as {script.label} does not know it'
                     + (f'; {without}' if (without := flags.FLAGS[key].without) else ''))
    blocks = [_head(name, script, command, notes), _comment(_PAPER)]
    blocks += [[*_comment(comment), *_setting(key, args)] for key, comment in lines.items()]
    return Printed('\n\n'.join('\n'.join(block) for block in blocks) + '\n', tuple(notes))


def _lines(name: str, args: argparse.Namespace) -> dict[str, str]:
    """The settings that get a line, with their comments; all that differ from timm's defaults."""
    sheet = RECIPES[name]
    defaults = {key: row.default for key, row in flags.FLAGS.items()}
    lines = {key: comment if isinstance(comment, str) else comment(args)
             for key, comment in sheet.lines.items()
             if key not in sheet.optional or getattr(args, key) != defaults[key]}
    others = {key: f'{row.help[0].upper()}{row.help[1:]}.' for key, row in flags.FLAGS.items()
              if key not in lines and getattr(args, key) != defaults[key]}
    return lines | others


def _head(name: str, script: Script, command: str, notes: Collection[str]) -> list[str]:
    """The first lines: what the file is, and what became of settings unknown to the script."""
    sheet = RECIPES[name]
    label, command = (' '.join(text.split()) for text in (script.label, command))
    head = [*_comment(f"{sheet.title}, as settings of timm's own train.py:"), '#',
            f'#     python train.py -c {name}.yaml --data-dir DIR --model {sheet.model}', '#']
    head += [f'# Written for {label} by', '#', f'#     {command}', '#'] if command else \
        [f'# Written for {label}.', '#']
    head += _comment('For other classes, sizes, lengths or versions let it be written anew: a '
                     'train.py passes over keys that it does not know without a word.')
    if notes:
        head.append('# Left out or changed:')
        for note in notes:
            head += textwrap.wrap(note, 100, initial_indent='# - ', subsequent_indent='#   ',
                                  break_long_words=False, break_on_hyphens=False)
    return head


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, 100, initial_indent='# ', subsequent_indent='# ',
                         break_long_words=False, break_on_hyphens=False)


def _setting(key: str, args: argparse.Namespace) -> list[str]:
    """A setting as YAML; nothing for a comment alone."""
    if not key.isidentifier():
        return []
    value = yaml.safe_dump(getattr(args, key), default_flow_style=True, width=10 ** 6)
    return [f'{key}: {value.splitlines()[0]}']
