"""From the command line to a planned ablation of mmdet configs."""

from __future__ import annotations

import argparse
from typing import Any

from ..mm.config_edit import plain
from ..mm.config_file import parse_settings
from ..plan.errors import TrickError
from ..plan.recipes import split_names
from .ablation import Ablation, idle_notes
from .identity import machine, versions
from .metrics import greater_is_better, unit_of
from .mm import metric_of, plan_config, read_config, subject_names
from .mm_run import LIBRARIES
from .planned import Rungs, without_idle
from .process import MEMORY
from .rungs import Arm, arms_of, given_arms, nested, riders_note, with_parameters
from .study import Mode, Study

__all__ = ['parse_options', 'plan_ablation']


def parse_options(words: list[str], flag: str = '--arms') -> dict[str, Any]:
    """``KEY=VALUE`` words as ``--cfg-options`` reads them; none give an empty dict.

    Raises:
        TrickError: If one is not.
    """
    return parse_settings(words, flag) if words else {}


def plan_ablation(args: argparse.Namespace, command: str) -> Ablation:
    """Plans every rung of every subject.

    Args:
        args: The command line's settings.
        command: The command line.

    Raises:
        TrickError: If one is wrong.
    """
    options = dict(args.cfg_options or {})
    if 'tricks' in options:
        raise TrickError('--cfg-options tricks=...: give the tricks by --tricks or --arms')
    own = nested({key[len('tricks.'):]: options.pop(key) for key in list(options)
                  if key.startswith('tricks.')})
    found: list[Rungs] = []
    metrics: list[str | None] = []
    mode: Mode = args.mode or ('stack' if len(args.config) == 1 else 'whole')
    fixed: list[Arm] = []
    if args.arms:
        mode, fixed = given_arms(args.arms, parse_options, own, '--cfg-options tricks.', args.mode)
    for name, path in zip(subject_names(args.config), args.config, strict=True):
        cfg = read_config(path, options)
        arms = fixed or _arms_of_config(path, cfg, args, own, mode)
        metrics.append(metric_of(cfg, args.metric))
        rungs = plan_config(name, path, cfg, arms)
        found.append(Rungs(*rungs) if args.arms else without_idle(*rungs, mode))
    metric = metrics[0]
    if any(one != metric for one in metrics):
        raise TrickError(f'the configs have different metrics ({", ".join(map(str, metrics))}): '
                         'name one by --metric')
    unit, factor = unit_of(metric) if metric else ('', 1.0)
    seeds = tuple(range(args.first_seed, args.first_seed + args.seeds))
    libraries = versions(*LIBRARIES)
    subjects = tuple(one.subject for one in found)
    study = Study(
        command, mode, metric or '', greater_is_better(metric or '', args.greater), unit, factor,
        seeds, subjects, (), {'machine': machine(), **libraries, 'memory': MEMORY},
        (*idle_notes(found), *riders_note(subjects)))
    return Ablation(study, {one.subject.name: one.planned for one in found}, metric,
                    parse_options(args.launcher_options, '--launcher-options'), libraries,
                    args.greater, {one.subject.name: list(one.idle) for one in found})


def _arms_of_config(path: str, cfg: Any, args: argparse.Namespace, own: dict[str, Any],
                    mode: Mode) -> list[Arm]:
    """The arms of a config, from --tricks or from its own ``tricks``."""
    inside = plain(cfg).get('tricks')
    if args.tricks is not None and inside is not None:
        raise TrickError(f'tricks are given twice: by --tricks and in {path} under `tricks`')
    if args.tricks is None and inside is None:
        raise TrickError(f'--tricks is missing, and {path} has no `tricks` of its own')
    wish = inside if args.tricks is None else split_names(args.tricks)
    return arms_of(mode, with_parameters(wish, own), args.tricks or 'all tricks')
