"""The subjects of an ablation that are timm models: their rungs, planned."""

from __future__ import annotations

import json
import re
from typing import Any

from ..plan.errors import TrickError
from ..plan.plan import Plan
from ..timm import checks, flags
from .identity import digest
from .metrics import check_metric
from .planned import Planned, with_stand_ins
from .rungs import PLAIN, Arm
from .study import Rung, Subject
from .timm_settings import Effective, effective, flags_digest, images_digest

__all__ = ['METRICS', 'check_words', 'ground_notes', 'metric_of', 'plan_model', 'subject_names']

METRICS = ('top1', 'top5', 'loss')
_REFUSED = {'tricks': '--tricks stands before --',
            'trick_options': '--trick-options stands before --',
            'plan': 'the report shows the plans', 'json': 'the report shows the plans',
            'resume': 'every run starts anew'}
_OURS = {'seed': '--seeds and --first-seed', 'output': '--out', 'experiment': '--out'}


def subject_names(models: list[str]) -> list[str]:
    """Unique names for models, fit for folders."""
    names = [re.sub(r'[^\w.-]', '_', model) for model in models]
    return [name if names.count(name) == 1 else f'{name}-{index}'
            for index, name in enumerate(names, 1)]


def check_words(words: list[str]) -> flags.Settings:
    """Reads the trainer's flags, and refuses those that the ablation sets.

    Args:
        words: What stands after ``--``.

    Raises:
        TrickError: If a flag is wrong, or there would be no metric.
    """
    settings = flags.parse(words)
    for name, reason in _REFUSED.items():
        if name in settings.given and getattr(settings.args, name):
            raise TrickError(f'--{name.replace("_", "-")} behind --: {reason}')
    for name, instead in _OURS.items():
        if name in settings.given and not settings.config:  # an args.yaml holds them
            raise TrickError(f'--{name} behind --: the ablation sets it, see {instead}')
    if not settings.args.val_split:
        raise TrickError("--val-split '' never validates, so an ablation would have no metric")
    if settings.args.data_dir is None and settings.args.data is None:
        raise TrickError('DATA is missing: name it first behind --')
    return settings


def plan_model(name: str, model: str, words: list[str], arms: list[Arm],
               ground: dict[str, Any]) -> tuple[Subject, list[Planned]]:
    """Plans every arm for a model.

    Args:
        name: The subject's name.
        model: timm's name of the model.
        words: Flags of the trainer.
        arms: The arms, the flags as they are first.
        ground: See `timm_settings.shared_ground`.

    Raises:
        TrickError: If a flag or trick is wrong here.
    """
    words = [*words, '--model', model]
    found = [_checked(arm, effective([*words, *arm.words], ground, arm.tricks)) for arm in arms]
    planned = with_stand_ins([
        _planned(arm, one, found[0], {'words': [*words, *arm.words], 'ground': ground,
                                      'tricks': arm.tricks})
        for arm, one in zip(arms, found, strict=True)])
    return Subject(name, model, tuple(one.rung for one in planned)), planned


def _checked(arm: Arm, one: Effective) -> Effective:
    try:
        checks.check(one.args, one.given)
    except TrickError as error:
        raise TrickError(f'{error} (rung {arm.name})') from error
    return one


def _planned(arm: Arm, one: Effective, first: Effective, content: dict[str, Any]) -> Planned:
    before, after = ({key: value for key, value in vars(of.args).items()
                      if key not in ('tricks', 'trick_options', 'plan', 'json')}
                     for of in (first, one))
    rows = [] if one.plan is None else one.plan.to_dict()['tricks']
    rung = Rung(arm.name, arm.label, arm.tricks, arm.reference, tuple(rows),
                '' if arm.name == PLAIN else Plan('', (), before, after).diff())
    known = flags_digest(one.args)
    promised = () if one.plan is None else tuple(
        row.name for row in one.plan.tricks if row.promise is not None)
    return Planned(
        rung, digest([known, images_digest(one.args)]), 'tricks_plugin.ablate.timm_run',
        json.dumps({**content, 'digest': known}, indent=1), promised, '.json',
        'tricks_plugin.ablate.timm_speed')


def metric_of(settings: flags.Settings, wanted: str | None) -> str:
    """The metric that counts.

    Raises:
        TrickError: If the trainer gives no such metric.
    """
    name = wanted or str(settings.args.eval_metric)
    check_metric(name, METRICS)
    return name


def ground_notes(grounds: dict[str, dict[str, Any]],
                 recipes: tuple[str, ...]) -> tuple[str, ...]:
    """A note on what every rung trains with, for each group of models with the same.

    Args:
        grounds: Settings by model.
        recipes: Those that were named; where two differ, the first holds.
    """
    if not recipes:
        return ()
    groups: dict[str, list[str]] = {}
    for model, ground in grounds.items():
        words = ', '.join(f'{key} {value}' for key, value in ground.items())
        groups.setdefault(words, []).append(model)
    whose, rest = f'{recipes[0]} trains with beside its', ''
    if len(recipes) > 1:
        whose = f'{" and ".join(recipes)} train with beside their'
        rest = '; where they differ, the first named holds'
    found = []
    for words, models in groups.items():
        which = f' of {", ".join(models)}' if len(groups) > 1 else ''
        if words:
            found.append(f'{words}: what {whose} tricks is set in every rung{which}, the first '
                         f'too{rest}.')
    return tuple(found)

