"""From the command line to a planned ablation."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from ..plan.errors import TrickError
from ..plan.recipes import split_names
from .engine import Job
from .identity import code_digest, machine, versions
from .metrics import greater_is_better, unit_of
from .mm import Planned, metric_of, plan_config, read_config, subject_names
from .mm_run import LIBRARIES
from .rungs import PLAIN, RIDERS, Arm, arms_of, named_arm, nested, with_parameters
from .study import Mode, Study, Subject

__all__ = ['Ablation', 'jobs_of', 'plan_ablation']


@dataclasses.dataclass(frozen=True)
class Ablation:
    """A planned ablation.

    Attributes:
        study: It, without runs.
        planned: The rungs of every subject, by its name.
        metric: The metric that counts; None where the first validation decides.
        launcher: Settings of the cluster's jobs.
    """

    study: Study
    planned: dict[str, list[Planned]]
    metric: str | None
    launcher: dict[str, Any]

    def to_plan(self) -> dict[str, Any]:
        """As `Folder.keep_plan` takes it."""
        return {
            'study': self.study.to_dict(),
            'identity': {name: {one.rung.name: one.settings for one in rungs}
                         for name, rungs in self.planned.items()},
            'code': code_digest()}


def jobs_of(ablation: Ablation) -> list[Job]:
    """Every run, seed by seed, so that early tables compare whole seeds."""
    return [Job(name, one, seed) for seed in ablation.study.seeds
            for name, rungs in ablation.planned.items()
            for one in rungs if one.rung.same_as is None]


def parse_options(words: list[str], flag: str = '--arms') -> dict[str, Any]:
    """``KEY=VALUE`` words as ``--cfg-options`` reads them.

    Raises:
        TrickError: If one is not.
    """
    from ..cli.common import add_config_arguments
    if not words:
        return {}
    parser = argparse.ArgumentParser()
    add_config_arguments(parser)
    try:
        return dict(parser.parse_args(['--cfg-options', *words]).cfg_options)
    except TrickError as error:
        raise TrickError(str(error).replace('--cfg-options', flag)) from error


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
    subjects: list[Subject] = []
    planned: dict[str, list[Planned]] = {}
    metrics: list[str | None] = []
    mode, fixed = _fixed_arms(args, own)
    for name, path in zip(subject_names(args.config), args.config, strict=True):
        cfg = read_config(path, options)
        arms = fixed or _arms_of_config(path, cfg, args, own, mode)
        metrics.append(metric_of(cfg, args.metric))
        subject, planned[name] = plan_config(name, path, cfg, arms)
        subjects.append(subject)
    metric = metrics[0]
    if any(one != metric for one in metrics):
        raise TrickError(f'the configs have different metrics ({", ".join(map(str, metrics))}): '
                         'name one by --metric')
    unit, factor = unit_of(metric) if metric else ('', 1.0)
    seeds = tuple(range(args.first_seed, args.first_seed + args.seeds))
    study = Study(
        command, mode, metric or '', greater_is_better(metric or ''), unit, factor, seeds,
        tuple(subjects), (), {'machine': machine(), **versions(*LIBRARIES)},
        _riders(subjects))
    return Ablation(study, planned, metric,
                    parse_options(args.launcher_options, '--launcher-options'))


def _fixed_arms(args: argparse.Namespace, own: dict[str, Any]) -> tuple[Mode, list[Arm]]:
    """The mode, and the arms where they are the same for every config."""
    if not args.arms:
        return args.mode or ('stack' if len(args.config) == 1 else 'whole'), []
    arms = [named_arm(text, parse_options) for text in args.arms]
    names = [arm.name for arm in arms]
    if twice := [name for name in names if names.count(name) > 1]:
        raise TrickError(f'--arms: {twice[0]!r} is given twice')
    if own:
        arms = [_with_own(arm, own) for arm in arms]
        unused = [name for name in own if not any(name in _names(arm) for arm in arms)]
        if unused:
            raise TrickError(f'--cfg-options tricks.{unused[0]}: no arm has this trick')
    return 'arms', [Arm(PLAIN, 'as it is', reference=None), *arms]


def _names(arm: Arm) -> set[str]:
    from ..plan.recipes import select
    return {trick.name for trick in select(arm.tricks).tricks}


def _with_own(arm: Arm, own: dict[str, Any]) -> Arm:
    """An arm with the parameters of --cfg-options for the tricks that it has."""
    here = {name: value for name, value in own.items() if name in _names(arm)}
    return dataclasses.replace(arm, tricks=with_parameters(arm.tricks, here)) if here else arm


def _arms_of_config(path: str, cfg: Any, args: argparse.Namespace, own: dict[str, Any],
                    mode: Mode) -> list[Arm]:
    """The arms of a config, from --tricks or from its own ``tricks``."""
    from ..mm.config_edit import plain
    inside = plain(cfg).get('tricks')
    if args.tricks is not None and inside is not None:
        raise TrickError(f'tricks are given twice: by --tricks and in {path} under `tricks`')
    if args.tricks is None and inside is None:
        raise TrickError(f'--tricks is missing, and {path} has no `tricks` of its own')
    wish = inside if args.tricks is None else split_names(args.tricks)
    return arms_of(mode, with_parameters(wish, own), args.tricks or 'all tricks')


def _riders(subjects: list[Subject]) -> tuple[str, ...]:
    """A note on the tricks that are no rungs."""
    found = [name for name in RIDERS if any(
        row['name'] == name for one in subjects for rung in one.rungs for row in rung.plan)]
    if not found:
        return ()
    return (f'{" and ".join(found)} change{"s" if len(found) == 1 else ""} nothing in what is '
            'learnt: no rung of their own, in every rung but the first.',)
