"""The settings of a rung under timm: planned and trained by the same function."""

from __future__ import annotations

import argparse
import copy
import dataclasses
import functools
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..plan import Plan
from ..plan.errors import TrickError
from ..plan.recipes import select
from ..timm import flags
from .identity import digest, files_in, portable

__all__ = ['Effective', 'effective', 'flags_digest', 'images_digest', 'listing', 'shared_ground']


@dataclasses.dataclass(frozen=True)
class Effective:
    """What a rung trains with.

    Attributes:
        args: timm's settings, after the tricks.
        asked: The settings before them.
        given: The names of those that the user set.
        plan: What the tricks set; None without tricks.
        strict: Whether a trick without effect stops the run.
    """

    args: argparse.Namespace
    asked: argparse.Namespace
    given: frozenset[str]
    plan: Plan | None
    strict: bool


def effective(words: list[str], ground: dict[str, Any], tricks: Any) -> Effective:
    """The settings of a rung.

    Args:
        words: Flags of the trainer.
        ground: What every rung trains with beside its tricks, see `shared_ground`.
        tricks: The value of ``tricks``; None for the flags as they are.

    Raises:
        TrickError: If a flag or a trick is wrong.
    """
    settings = flags.parse(words)
    # A rung's own flags stand.
    ground = {key: value for key, value in ground.items() if key not in settings.given}
    asked = argparse.Namespace(**{**vars(settings.args), **copy.deepcopy(ground)})
    asked.data_dir = asked.data_dir or asked.data
    args = argparse.Namespace(**copy.deepcopy(vars(asked)))
    if tricks is None:
        return Effective(args, asked, settings.given, None, False)
    from ..timm.plan import plan_tricks
    args, plan, strict = plan_tricks(args, settings.given, tricks, settings.config,
                                     settled=ground)
    return Effective(args, asked, settings.given, plan, strict)


def shared_ground(words: list[str], wishes: Iterable[Any]) -> dict[str, Any]:
    """What recipes train with beside their tricks, such as their length, where flags say nothing.

    Every rung gets it, the first too, so that a difference is the tricks'.

    Args:
        words: Flags of the trainer.
        wishes: The values of ``tricks`` of all rungs; where two recipes differ, the first holds.
    """
    from ..timm.facts import facts
    from ..timm.ground import ground
    settings = flags.parse(words)
    now = vars(settings.args)
    found: dict[str, Any] = {}
    for name in dict.fromkeys(name for wish in wishes for name in select(wish).recipes):
        wanted = ground(name, {**now, **facts(now)})
        found = {**{key: value for key, value in wanted.items() if key not in settings.given},
                 **found}
    return found


def flags_digest(args: argparse.Namespace) -> str:
    """A digest of the settings that decide results, the seed and the images left out."""
    settings = {key: value for key, value in vars(args).items() if key != 'seed' and not (
        key in flags.FLAGS and flags.FLAGS[key].role == 'place')}
    splits = [settings.pop(key) for key in ('train_split', 'val_split')]  # tars may be huge
    return digest([portable(settings, args.data_dir or ''), splits])


def images_digest(args: argparse.Namespace) -> str:
    """A digest of the images' names and sizes, or of a data set's name.

    Raises:
        TrickError: If a split is not there.
    """
    if args.dataset.lower() not in ('', 'torch/image_folder', 'torch/folder'):
        return digest([args.dataset, args.train_split, args.val_split])
    from ..timm.splits import find_split
    return digest([listing(str(find_split(args, training))) for training in (True, False)])


@functools.cache
def listing(place: str) -> str:
    """A digest of the files in a folder or tar: their names and sizes."""
    path = Path(place)
    found: list[tuple[str, int]] = []
    if path.is_dir():
        found = files_in(place)
    else:
        try:
            with tarfile.open(path) as tar:
                found = [(one.name, one.size) for one in tar if one.isfile()]
        except (tarfile.TarError, OSError) as error:
            raise TrickError(f'--data-dir: {path} cannot be read: {error}') from error
    return digest(sorted(found))
