"""The config edit that adds the guard."""

from __future__ import annotations

from typing import Any

from ...mm.config_edit import append_hook, default_scope, find, optim_wrappers, run_length
from ...plan import ConfigEdit, Verdict

__all__ = ['Edit']


class Edit(ConfigEdit):
    """Adds `FiniteGuardHook`."""

    def apply(self, cfg: dict[str, Any]) -> Verdict:
        """Adds the hook to a config that trains."""
        for path, _ in find(cfg.get('custom_hooks'), 'FiniteGuardHook', path='custom_hooks',
                            scope=default_scope(cfg)):
            return Verdict.present(f'{path} is FiniteGuardHook', promise={})
        if not optim_wrappers(cfg) or run_length(cfg) is None:
            return Verdict.not_applicable('the config does not train')
        params = self.params
        append_hook(cfg, dict(type='tricks_plugin.FiniteGuardHook', limit=params.limit,
                              interval=params.interval))
        return Verdict.applied(f'stops after {params.limit} iterations in a row without a finite '
                               f'loss, looked at every {params.interval}')
