"""The config edit that replaces the learning-rate schedule by step decay."""

from __future__ import annotations

from typing import Any

from ...mm.config_edit import copy_plain, default_scope, is_a
from ...mm.schedules import is_constant_warmup, is_lr, is_warmup, schedulable
from ...plan import ConfigEdit, Verdict
from .functional import decay_points

__all__ = ['Edit']


class Edit(ConfigEdit):
    """Replaces the LR schedulers but for their warm-up; others, as of momentum, stay."""

    def apply(self, cfg: dict[str, Any]) -> Verdict:
        """Puts one multi-step schedule behind the config's own warm-up."""
        schedule = schedulable(cfg)
        if isinstance(schedule, str):
            return Verdict.not_applicable(schedule)
        run, lists = schedule
        scope = default_scope(cfg)
        items = [item for items in lists.values() for item in items]
        if any(is_a(item, 'WarmupCosineLR', scope=scope) for item in items):
            return Verdict.not_applicable('cosine_warmup has made the schedule, and a run has one')
        try:
            points = decay_points(run.value, self.params.milestones)
        except ValueError as error:
            return Verdict.not_applicable(f'{error} {"epochs" if run.by_epoch else "iterations"}')
        node = dict(type='MultiStepLR', by_epoch=run.by_epoch, milestones=points,
                    gamma=self.params.gamma)
        new = {name: [*(item for item in items if not is_lr(item, scope) or is_warmup(item, scope)),
                      copy_plain(node)] for name, items in lists.items()}
        if new == lists:
            return Verdict.present('the config steps at these points already', promise={})
        cfg['param_scheduler'] = new.get('', new)
        unit = 'epoch' if run.by_epoch else 'iteration'
        return Verdict.applied(
            f'LR times {self.params.gamma:g} at {unit} {", ".join(map(str, points))} of '
            f'{run.value}{_words(items, scope)}')


def _words(items: list[dict[str, Any]], scope: str) -> str:
    """What stays and what goes of the config's own schedules."""
    words = ''
    if any(is_warmup(item, scope) for item in items):
        words += "; the config's own warm-up stays"
    if any(is_constant_warmup(item, scope) for item in items):
        # With end=1 mmengine's never gives the LR back.
        words += '; ConstantLR, which is no ramp, goes with its schedule'
    floors = [f'{item[key]:g}' for item in items if is_lr(item, scope)
              for key in ('eta_min', 'min_value', 'min_lr')
              if isinstance(item.get(key), (int, float)) and item[key] > 0]
    if floors:
        words += f'; its lowest LR of {", ".join(floors)} goes with its schedule'
    if any(is_a(item, 'OneCycleLR', 'OneCycleParamScheduler', scope=scope) for item in items):
        words += "; the highest LR is the optimizer's lr, no longer OneCycleLR's eta_max"
    return words
