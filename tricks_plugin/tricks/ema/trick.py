"""The config edit that averages the weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

from ...config_edit import default_scope, find, optim_wrappers, run_length, type_name
from ..base import TRICKS, Params, Trick, Verdict, bounded

__all__ = ['Ema', 'EmaParams']

_TIMM_DECAY = 0.9998


@dataclasses.dataclass(frozen=True)
class EmaParams(Params):
    """Parameters of `ema`."""

    horizon: float = bounded(0.02, 'memory of the average, as a share of the run', gt=0, lt=1)
    momentum: float | None = bounded(
        None, 'share of the new weights per iteration; overrides horizon', gt=0, lt=1)
    update_buffers: bool = bounded(True, "average BatchNorm's running statistics too")


@TRICKS.register
class Ema(Trick):
    """An exponential moving average of the weights, validated and saved in their place."""

    name = 'ema'
    title = 'exponential moving average of the weights'
    paper = 'Tarvainen and Valpola (arXiv 1703.01780) section 2'
    order = 90
    Params = EmaParams
    evidence = 'tricks_plugin.tricks.ema.evidence:AverageEvidence'
    timm_main = 'model_ema'

    def apply(self, cfg: dict[str, Any]) -> Verdict:
        """Adds the hook."""
        scope = default_scope(cfg)
        for section in ('custom_hooks', 'default_hooks'):
            for path, node in find(cfg.get(section), 'EMAHook', path=section, scope=scope):
                return Verdict.present(f'{path} is {type_name(node)}')
        if not optim_wrappers(cfg) or run_length(cfg) is None:
            return Verdict.not_applicable('the config does not train')
        for path, node in find(cfg.get('custom_hooks'), 'MeanTeacherHook', path='custom_hooks',
                               scope=scope):
            return Verdict.not_applicable(f'{path} is {type_name(node)}, which averages a teacher '
                                          'of its own')
        params = self.params
        hook = dict(type='tricks_plugin.RunLengthEMAHook', update_buffers=params.update_buffers)
        if params.momentum is None:
            hook['horizon'] = params.horizon
            reason = f'memory {params.horizon:g} of the run'
        else:
            hook['momentum'] = params.momentum
            reason = f'memory 1 / {params.momentum:g} = {1 / params.momentum:.4g} iterations'
        hooks = cfg.get('custom_hooks') or []
        cfg['custom_hooks'] = [*(hooks if isinstance(hooks, (list, tuple)) else [hooks]), hook]
        return Verdict.applied(f'{reason}; validation and checkpoints use the average')

    def timm_args(
        self, args: dict[str, Any], given: Collection[str] = frozenset(),
    ) -> dict[str, Any] | str | None:
        """Switches timm's model EMA on; its decay grows with the step, up to the given one."""
        if not self.params.update_buffers:
            return "timm averages BatchNorm's statistics as well, against update_buffers=False"
        momentum = self.params.momentum
        return {'model_ema': True, 'model_ema_warmup': True,
                'model_ema_decay': _TIMM_DECAY if momentum is None else 1 - momentum}

    def timm_note(self, before: dict[str, Any], after: dict[str, Any]) -> str:
        """Says how far the average reaches back, which in timm is no share of the run."""
        rest = 1 - after['model_ema_decay']
        return f'memory of up to {1 / rest:.4g} updates, in runs of any length' if rest > 0 else ''
