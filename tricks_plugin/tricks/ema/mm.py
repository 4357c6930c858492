"""The config edit that averages the weights."""

from __future__ import annotations

import re
from typing import Any

from ...mm.config_edit import (
    append_hook,
    default_scope,
    find_hooks,
    not_seen,
    optim_wrappers,
    run_length,
    type_name,
    walk,
)
from ...plan import ConfigEdit, Verdict

__all__ = ['Edit']

_AVERAGES = re.compile(r'EMA|SWA|Ema(?![a-z])|Averag')


class Edit(ConfigEdit):
    """Adds the hook."""

    def apply(self, cfg: dict[str, Any]) -> Verdict:
        """Adds `RunLengthEMAHook`, unless the config averages already."""
        scope = default_scope(cfg)
        for path, node in find_hooks(cfg, 'EMAHook'):
            return Verdict.present(f'{path} is {type_name(node)}', promise={})
        for section in ('custom_hooks', 'default_hooks'):
            for path, node in walk(cfg.get(section), section):
                if _AVERAGES.search(type_name(node)) and not_seen(node, scope):
                    return Verdict.not_applicable(
                        f'{path} is {type_name(node)}, which may average the weights already'
                        + not_seen(node, scope))
        if not optim_wrappers(cfg) or run_length(cfg) is None:
            return Verdict.not_applicable('the config does not train')
        for path, node in find_hooks(cfg, 'MeanTeacherHook'):
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
            length = run_length(cfg)
            if length is not None and not length.by_epoch and length.value < 1 / params.momentum:
                reason += (f', more than the {length.value} of the run, so that the average stays '
                           'near the first weights; leave momentum out to fit it to the run')
        if params.ramp:
            hook.update(ema_type='MomentumAnnealingEMA', gamma=1)
            reason += ', before that the mean of all weights so far'
        append_hook(cfg, hook)
        return Verdict.applied(f'{reason}; validation and checkpoints use the average')
