"""The config edit that adds the monitor."""

from __future__ import annotations

from typing import Any

from ...mm.config_edit import append_hook, default_scope, find, optim_wrappers, run_length
from ...plan import ConfigEdit, Verdict

__all__ = ['Edit']


class Edit(ConfigEdit):
    """Adds `DataBottleneckHook`."""

    def apply(self, cfg: dict[str, Any]) -> Verdict:
        """Adds the hook to a config that trains."""
        for path, _ in find(cfg.get('custom_hooks'), 'DataBottleneckHook', path='custom_hooks',
                            scope=default_scope(cfg)):
            return Verdict.present(f'{path} is DataBottleneckHook', promise={})
        if not optim_wrappers(cfg) or run_length(cfg) is None:
            return Verdict.not_applicable('the config does not train')
        params = self.params
        append_hook(cfg, dict(
            type='tricks_plugin.DataBottleneckHook', threshold=params.threshold,
            interval=params.interval, window=params.window, samples=params.samples))
        return Verdict.applied(f'speaks once where {params.window} iterations wait for data for '
                               f'{params.threshold:.0%} of their time')
