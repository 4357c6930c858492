"""Replaces a config's learning-rate schedule by step decay, the baseline of the papers."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

from ...mm.config_edit import copy_plain, default_scope, is_a, optim_wrappers, run_length
from ...mm.schedules import is_lr, is_warmup, scheduler_lists
from ...plan import TRICKS, Params, Trick, Verdict, bounded
from ...plan.errors import TrickError
from .functional import decay_points

__all__ = ['StepDecay', 'StepDecayParams']

_TIMM_EARLY = 1  # timm's multi-step schedule falls one step before a milestone, here an epoch


@dataclasses.dataclass(frozen=True)
class StepDecayParams(Params):
    """Parameters of `step_decay`."""

    milestones: tuple[float, ...] | list[float] = bounded(
        (0.3, 0.6, 0.9), 'shares of the run at which the LR falls')
    gamma: float = bounded(0.1, 'what the LR is multiplied by each time', gt=0, lt=1)

    def check(self, path: str) -> None:
        """Raises TrickError unless the milestones rise within (0, 1)."""
        try:
            decay_points(10 ** 9, self.milestones)
        except ValueError as error:
            raise TrickError(f'{path}.milestones: {error}') from None


@TRICKS.register
class StepDecay(Trick):
    """A tenth of the LR at 30, 60 and 90 % of the run: an opponent for `cosine_warmup`."""

    name = 'step_decay'
    title = 'learning rate in steps: a fair baseline for the cosine'
    paper = 'BoT (arXiv 1812.01187) section 5.1'
    order = 25
    Params = StepDecayParams
    evidence = 'tricks_plugin.tricks.step_decay.evidence:StepEvidence'
    timm_main = 'sched'
    excludes = ('cosine_warmup',)

    def apply(self, cfg: dict[str, Any]) -> Verdict:
        """Replaces the LR schedulers but for their warm-up; others, as of momentum, stay."""
        if not optim_wrappers(cfg):
            return Verdict.not_applicable('the config has no optimizer whose LR could be scheduled')
        run = run_length(cfg)
        if run is None:
            return Verdict.not_applicable('the config does not say how long it trains')
        lists = scheduler_lists(cfg.get('param_scheduler'))
        if lists is None:
            return Verdict.not_applicable('param_scheduler has a form that is not known')
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
            return Verdict.present('the config steps at these points already')
        cfg['param_scheduler'] = new.get('', new)
        unit = 'epoch' if run.by_epoch else 'iteration'
        ramps = [item for item in items if is_warmup(item, scope)]
        return Verdict.applied(
            f'LR times {self.params.gamma:g} at {unit} {", ".join(map(str, points))} of '
            f'{run.value}' + ("; the config's own warm-up stays" if ramps else ''),
            milestones=points, by_epoch=run.by_epoch, gamma=self.params.gamma,
            warmup=[[item.get('end', float('inf')), bool(item.get('by_epoch', True))]
                    for item in ramps])

    def timm_args(
        self, args: dict[str, Any], given: Collection[str] = frozenset(),
    ) -> dict[str, Any] | str | None:
        """Selects timm's multi-step schedule, per epoch, without a warm-up."""
        epochs = args.get('epochs', 300)
        if isinstance(epochs, bool) or not isinstance(epochs, int):
            return f'--epochs must be a whole number, got {epochs!r}'
        try:
            points = decay_points(epochs, self.params.milestones)
        except ValueError as error:
            return f'{error} epochs'
        early = 0 if 'sched_on_updates' in given and args['sched_on_updates'] else _TIMM_EARLY
        return {'sched': 'multistep', 'decay_milestones': [point + early for point in points],
                'decay_rate': self.params.gamma, 'warmup_epochs': 0, 'cooldown_epochs': 0,
                'sched_on_updates': False}

    def timm_note(self, before: dict[str, Any], after: dict[str, Any]) -> str:
        """Says when the rate falls."""
        early = 0 if after.get('sched_on_updates') else _TIMM_EARLY
        points = ', '.join(str(point - early) for point in after['decay_milestones'])
        return f'LR times {after["decay_rate"]:g} at epoch {points} of {after["epochs"]}'
