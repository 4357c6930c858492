"""From the command line to a planned ablation of timm models."""

from __future__ import annotations

import argparse
import ast
from typing import Any

from ..plan.errors import TrickError
from ..plan.recipes import select, split_names
from .ablation import Ablation, idle_notes
from .identity import machine, versions
from .metrics import greater_is_better, unit_of
from .planned import Rungs, without_idle
from .process import MEMORY
from .rungs import Arm, arms_of, given_arms, nested, riders_note, with_parameters
from .study import Mode, Study
from .timm import check_words, ground_notes, metric_of, plan_model, subject_names
from .timm_run import LIBRARIES
from .timm_settings import shared_ground

__all__ = ['parse_pairs', 'plan_timm']


def parse_pairs(words: list[str], flag: str = '--arms') -> dict[str, Any]:
    """``KEY=VALUE`` words; a value that is no Python literal is text.

    Raises:
        TrickError: If one is none, or a key is given twice.
    """
    found: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition('=')
        if not equals or not key or key in found:
            raise TrickError(f'{flag} must be KEY=VALUE, each key once, got {word!r}')
        try:
            found[key] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            found[key] = text
    return found


def plan_timm(args: argparse.Namespace, words: list[str], command: str) -> Ablation:
    """Plans every rung of every model.

    Args:
        args: The command line's settings.
        words: The trainer's flags.
        command: The command line.

    Raises:
        TrickError: If one is wrong.
    """
    settings = check_words(words)
    metric = metric_of(settings, args.metric)
    models = args.models or [str(settings.args.model)]
    if args.models and 'model' in settings.given and not settings.config:
        raise TrickError('--models and --model behind --: give one of them')
    mode, arms = _arms(args, models)
    # The same for all rungs of a model; an option of one model may mean nothing to another.
    grounds = {model: shared_ground([*words, '--model', model], [arm.tricks for arm in arms])
               for model in models}
    found: list[Rungs] = []
    for name, model in zip(subject_names(models), models, strict=True):
        rungs = plan_model(name, model, words, arms, grounds[model])
        found.append(Rungs(*rungs) if args.arms else without_idle(*rungs, mode))
    unit, factor = unit_of(metric)
    libraries = versions(*LIBRARIES)
    subjects = tuple(one.subject for one in found)
    recipes = tuple(dict.fromkeys(one for arm in arms for one in select(arm.tricks).recipes))
    study = Study(
        command, mode, metric, greater_is_better(metric, args.greater), unit, factor,
        tuple(range(args.first_seed, args.first_seed + args.seeds)), subjects, (),
        {'machine': machine(), **libraries, 'memory': MEMORY},
        (*idle_notes(found), *ground_notes(grounds, recipes), *riders_note(subjects)))
    return Ablation(study, {one.subject.name: one.planned for one in found}, metric,
                    parse_pairs(args.launcher_options, '--launcher-options'), libraries,
                    args.greater, {one.subject.name: list(one.idle) for one in found})


def _arms(args: argparse.Namespace, models: list[str]) -> tuple[Mode, list[Arm]]:
    own = nested(parse_pairs(args.trick_options, '--trick-options'))
    if args.arms:
        return given_arms(args.arms, parse_pairs, own, '--trick-options ', args.mode, flags=True)
    if args.tricks is None:
        raise TrickError('--tricks is missing: which tricks are to be compared?')
    mode: Mode = args.mode or ('stack' if len(models) == 1 else 'whole')
    return mode, arms_of(mode, with_parameters(split_names(args.tricks), own), args.tricks)
