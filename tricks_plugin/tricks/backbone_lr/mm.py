"""The config edit that lowers the backbone's learning rate."""

from __future__ import annotations

from typing import Any

from ...common.backbone import BACKBONE_LR
from ...mm.config_edit import (
    default_scope,
    is_a,
    not_seen,
    optim_wrappers,
    type_name,
    walk,
)
from ...plan import ConfigEdit, Verdict

__all__ = ['Edit']

_CONSTRUCTOR = 'tricks_plugin.BackboneLrOptimWrapperConstructor'


class Edit(ConfigEdit):
    """Sets ``paramwise_cfg.backbone_lr_mult``, and a constructor that knows it."""

    def apply(self, cfg: dict[str, Any]) -> Verdict:
        """Edits ``optim_wrapper``; every other rule of ``paramwise_cfg`` holds on."""
        wrappers = optim_wrappers(cfg)
        if not wrappers:
            return Verdict.not_applicable('the config has no optimizer')
        path, wrapper = wrappers[0]
        if path != 'optim_wrapper':
            return Verdict.not_applicable('several optimizers are built by a constructor of their '
                                          "own, which decides over each one's parameters")
        if not any(where.split('.')[-1] == 'backbone' for where, _ in walk(
                cfg.get('model'), 'model')):
            return Verdict.not_applicable('the model has no part named backbone')
        if stages := _all_frozen(cfg, default_scope(cfg)):
            return Verdict.not_applicable(f'nothing of the backbone trains: {stages}')
        paramwise = wrapper.get('paramwise_cfg')
        if paramwise is not None and not isinstance(paramwise, dict):
            return Verdict.not_applicable('optim_wrapper.paramwise_cfg is not a dict')
        return self._edit(wrapper, paramwise or {}, default_scope(cfg))

    def _edit(self, wrapper: dict[str, Any], paramwise: dict[str, Any], scope: str) -> Verdict:
        constructor = wrapper.get('constructor')
        ours = constructor is not None and is_a(constructor, 'GroupRulesConstructor', scope=scope)
        if ours and BACKBONE_LR in paramwise:
            return Verdict.present(
                f'optim_wrapper.paramwise_cfg.{BACKBONE_LR} is {paramwise[BACKBONE_LR]:g} already',
                {'lr_mult': paramwise[BACKBONE_LR]})
        name = type_name(constructor or 'DefaultOptimWrapperConstructor')
        if 'Decay' in name and not ours and 'decay_rate' in paramwise:
            return Verdict.present(f'{name} lowers the LR of the backbone layer by layer already')
        if not ours and name != 'DefaultOptimWrapperConstructor':
            return Verdict.not_applicable(
                f'the optimizer is built by {name}, which decides over the LR of each parameter '
                'itself' + not_seen(constructor, scope))
        rules = paramwise.get('custom_keys') or {}
        if not isinstance(rules, dict):
            return Verdict.not_applicable('optim_wrapper.paramwise_cfg.custom_keys is not a dict')
        for key, entry in rules.items():
            factor = entry.get('lr_mult', 1.0) if isinstance(entry, dict) else 1.0
            if key.strip('.').rpartition('.')[2] == 'backbone' and factor != 1:
                return Verdict.present(
                    f'optim_wrapper.paramwise_cfg.custom_keys.{key} has lr_mult {factor:g} already')
        if not isinstance(wrapper['optimizer'].get('lr'), (int, float)):
            return Verdict.not_applicable('optim_wrapper.optimizer names no lr of which the '
                                          'backbone could have a share')
        wrapper['paramwise_cfg'] = {**paramwise, BACKBONE_LR: self.params.lr_mult}
        if not ours:
            wrapper['constructor'] = _CONSTRUCTOR
        return Verdict.applied(f'the backbone trains at {self.params.lr_mult:g} of the LR; decay '
                               'and every other rule stay', lr_mult=self.params.lr_mult)


def _all_frozen(cfg: dict[str, Any], scope: str) -> str:
    """What says that the stages of every backbone are frozen to the last, of ResNets; or empty."""
    nodes = [(path, node) for path, node in walk(cfg.get('model'), 'model')
             if path.split('.')[-1] == 'backbone']
    for _, node in nodes:
        stages, count = node.get('frozen_stages'), node.get('num_stages', 4)
        if not is_a(node, 'ResNet', scope=scope) or not isinstance(stages, int) or \
                not isinstance(count, int) or stages < count:
            return ''
    return ' and '.join(f'{path}.frozen_stages is {node["frozen_stages"]}' for path, node in nodes)
