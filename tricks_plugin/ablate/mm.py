"""The subjects of an ablation that are mmdet configs: their rungs, planned."""

from __future__ import annotations

import math
import pprint
import re
from pathlib import Path
from typing import Any

from ..mm.apply import apply_tricks
from ..mm.config_edit import copy_plain, find, get, plain
from ..mm.config_file import load_config
from ..plan.errors import TrickError
from ..plan.plan import Plan
from .identity import digest, portable
from .metrics import check_metric, default_metric
from .planned import Planned, with_stand_ins
from .rungs import Arm
from .study import Rung, Subject

__all__ = ['config_text', 'metric_of', 'plan_config', 'read_config', 'subject_names']


def subject_names(paths: list[str]) -> list[str]:
    """Short, unique names for configs, fit for folders."""
    stems = [re.sub(r'[^\w.-]', '_', Path(path.rpartition('::')[2]).stem) for path in paths]
    return [stem if stems.count(stem) == 1 else f'{stem}-{index}'
            for index, stem in enumerate(stems, 1)]


def read_config(path: str, options: dict[str, Any]) -> Any:
    """A config with ``--cfg-options`` that can be trained and validated.

    Raises:
        TrickError: If it cannot be read, or lacks what training and validation need.
    """
    cfg = load_config(path, None, options)
    for part in ('train_dataloader', 'train_cfg', 'optim_wrapper'):
        if cfg.get(part) is None:
            raise TrickError(f'{path} does not train: it has no {part}')
    for part in ('val_dataloader', 'val_evaluator', 'val_cfg'):
        if cfg.get(part) is None:
            raise TrickError(f'{path} never validates: it has no {part}, so an ablation would '
                             'have no metric')
    return cfg


def metric_of(cfg: Any, wanted: str | None) -> str | None:
    """The metric that counts, as far as the evaluators tell it before the first validation.

    Args:
        cfg: The config.
        wanted: The value of ``--metric``.

    Raises:
        TrickError: If the config's evaluators give no such metric.
    """
    names, all_of_them = _known_metrics(plain(cfg)['val_evaluator'])
    if wanted is None:
        return default_metric(names) if names else None
    if all_of_them:
        check_metric(wanted, names)
    return wanted


def _known_metrics(evaluators: Any) -> tuple[list[str], bool]:
    """Names that evaluators give, and whether there are no others; none where one is not known."""
    names: list[str] = []
    complete = True
    for one in evaluators if isinstance(evaluators, list) else [evaluators]:
        kind = str(one.get('type', '')).rpartition('.')[2] if isinstance(one, dict) else ''
        kinds = one.get('metric', 'bbox') if kind == 'CocoMetric' else None
        for what in kinds if isinstance(kinds, (list, tuple)) else [kinds]:
            if what not in ('bbox', 'segm'):
                return [], False
            items = one.get('metric_items') or ('mAP', *(f'mAP_{end}' for end in (
                '50', '75', 's', 'm', 'l')))
            names += [f'{one.get("prefix") or "coco"}/{what}_{item}' for item in items]
        complete = complete and not one.get('classwise')
    return names, complete


def plan_config(name: str, path: str, cfg: Any, arms: list[Arm]) -> tuple[Subject, list[Planned]]:
    """Plans every arm for a config.

    Args:
        name: The subject's name.
        path: As the user wrote it.
        cfg: As `read_config` gives it.
        arms: The arms, the config as it is first.

    Raises:
        TrickError: If a trick is wrong here.
    """
    base = copy_config(cfg)
    base.pop('tricks', None)
    first = plain(apply_tricks(base)[0])
    planned = with_stand_ins([_plan_arm(base, arm, first) for arm in arms])
    return Subject(name, path, tuple(one.rung for one in planned)), planned


def copy_config(cfg: Any) -> Any:
    """A copy of a Config."""
    from mmengine.config import Config
    return Config(copy_plain(plain(cfg)), cfg_text=cfg.text, filename=cfg.filename,
                  env_variables=cfg.env_variables)


def _plan_arm(base: Any, arm: Arm, first: dict[str, Any]) -> Planned:
    cfg = copy_config(base)
    try:
        cfg.merge_from_dict(dict(arm.options))
    except Exception as error:  # mmengine raises TypeError, KeyError and others here
        raise TrickError(f'cannot set the settings of arm {arm.name}: '
                         f'{type(error).__name__}: {" ".join(str(error).split())}') from error
    effective, plan = apply_tricks(cfg, arm.tricks)
    bare = effective if arm.tricks is None else apply_tricks(cfg, arm.deciding())[0]
    after = plain(effective)
    rung = Rung(
        arm.name, arm.label, arm.tricks, arm.reference, tuple(plan.to_dict()['tricks']),
        Plan('', (), first, after).diff())
    promised = tuple(row.name for row in plan.tricks if row.promise is not None)
    return Planned(rung, digest(portable(_deciding(plain(bare)))), 'tricks_plugin.ablate.mm_run',
                   config_text(after), promised, speed='tricks_plugin.ablate.mm_speed')


class _Printer(pprint.PrettyPrinter):
    """Prints plain values as Python reads them again, infinity and NaN too."""

    def format(self, object: Any, context: dict[int, int], maxlevels: int,
               level: int) -> tuple[str, bool, bool]:
        """See `pprint.PrettyPrinter.format`."""
        if isinstance(object, float) and not math.isfinite(object):
            return f"float('{object}')", True, False
        return super().format(object, context, maxlevels, level)


def config_text(tree: dict[str, Any]) -> str:
    """A plain config as a config file."""
    printer = _Printer(sort_dicts=False, width=96)
    return ''.join(f'{key} = {printer.pformat(value)}\n' for key, value in tree.items())


def _deciding(tree: dict[str, Any]) -> dict[str, Any]:
    """The part of a config that decides results: without checkpoints and what only measures."""
    tree = copy_plain(tree)
    measuring = [hook for _, hook in find(tree.get('custom_hooks'), 'TrickEvidenceHook')]
    if measuring:
        tree['custom_hooks'] = [one for one in tree['custom_hooks']
                                if not any(one is hook for hook in measuring)]
    if not tree.get('custom_hooks'):
        tree.pop('custom_hooks', None)
    hooks = get(tree, 'default_hooks')
    if isinstance(hooks, dict):
        tree['default_hooks'] = {key: value for key, value in hooks.items()
                                 if key not in ('checkpoint', 'logger', 'visualization')}
    randomness = tree.get('randomness')
    if isinstance(randomness, dict):
        tree['randomness'] = {key: value for key, value in randomness.items() if key != 'seed'}
    return tree
