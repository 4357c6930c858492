"""The config edit that initialises the last scale of each residual branch to zero."""

from __future__ import annotations

import inspect
from typing import Any

from ...mm.config_edit import (
    append_hook,
    default_scope,
    find,
    get,
    is_a,
    lookup_class,
    not_seen,
    optim_wrappers,
    type_name,
)
from ...mm.meta import built_on_meta
from ...mm.pretrained import backbone_weights
from ...plan import ConfigEdit, Verdict

__all__ = ['Edit']

_PATH = 'model.backbone'
_OPTION = 'zero_init_residual'
# By name where the library cannot be looked into. Their option works; mmdet's HRNet has one of the
# same name that it never reaches.
_BY_OPTION = ('ResNet', 'ResNetV1c', 'ResNetV1d', 'RegNet')
_BY_HOOK = (*_BY_OPTION, 'HRNet', 'Darknet', 'CSPDarknet', 'CSPNeXt', 'MobileNetV2',
            'EfficientNet', 'HourglassNet')


class Edit(ConfigEdit):
    """Adds a hook."""

    def apply(self, cfg: dict[str, Any]) -> Verdict:
        """Adds the hook where the backbone does not do it itself."""
        backbone = get(cfg, _PATH)
        if not isinstance(backbone, dict) or not type_name(backbone):
            return Verdict.not_applicable('the config has no model.backbone')
        if not optim_wrappers(cfg):
            return Verdict.not_applicable('the config does not train')
        scope, name = default_scope(cfg), type_name(backbone)
        reason = _overridden(cfg, backbone)
        if reason:
            return Verdict.not_applicable(reason)
        for path, node in find(cfg.get('custom_hooks'), 'ZeroGammaHook', path='custom_hooks',
                               scope=scope):
            return Verdict.present(f'{path} is {type_name(node)}', {})
        unseen = not_seen(backbone, scope)
        if not is_a(backbone, *_BY_HOOK, scope=scope) and not _branches(backbone, scope):
            return Verdict.not_applicable(
                f'{name} is no backbone whose residual branches are known to this trick{unseen}')
        if is_a(backbone, *_BY_OPTION, scope=scope) and not backbone.get('init_cfg') \
                and backbone.get(_OPTION, _default(backbone, scope)):
            return Verdict.present(f'{name} starts its residual branches at zero '
                                   f'({_OPTION}=True)', {})
        append_hook(cfg, dict(type='tricks_plugin.ZeroGammaHook'))
        return Verdict.applied(f'{name} trains from scratch{unseen}')


def _branches(backbone: dict[str, Any], scope: str) -> int:
    """The residual branches that end in a scale which is known to this trick.

    Asked of the backbone itself, built without memory, where it is mmpretrain's: that has some
    seventy. Those of detectors are listed.
    """
    found = lookup_class(str(backbone['type']), scope)
    if found is None or not found.__module__.startswith('mmpretrain.'):
        return 0
    built = built_on_meta(backbone, scope)
    if built is None:
        return 0
    from .functional import last_norm
    norms = {id(norm): norm for part in built.modules() if (norm := last_norm(part)) is not None}
    return sum(getattr(norm, 'weight', None) is not None for norm in norms.values())


def _default(backbone: dict[str, Any], scope: str) -> bool:
    """What the backbone's class does about the option without being told."""
    found = lookup_class(str(backbone['type']), scope)
    for kind in getattr(found, '__mro__', ()):
        if '__init__' in vars(kind):
            option = inspect.signature(kind).parameters.get(_OPTION)
            if option is not None:
                return bool(option.default)
    return False


def _overridden(cfg: dict[str, Any], backbone: dict[str, Any]) -> str:
    """Why zeros would be lost, or would lose something; empty if they would not."""
    found = {one.part if one.key != 'load_from' else one.key: one.path
             for one in backbone_weights(cfg)}
    if _PATH in found:
        return f'{_PATH} starts from pretrained weights, whose scales zeroing would lose'
    if 'model' in found:  # the whole model's; mmseg's segmentors hand theirs to the backbone
        return (f'{found["model"]} gives the backbone pretrained weights, whose scales zeroing '
                'would lose')
    if 'load_from' in found:
        return 'load_from brings weights, and the scales with them'
    if frozen := _resting(cfg):
        return f'{frozen} gives the backbone no learning rate, so that zeros would stay'
    if get(backbone, 'norm_cfg.requires_grad') is False:
        return (f'{_PATH}.norm_cfg.requires_grad=False freezes the scales, so that zeros would '
                'stay; requires_grad=True would let them grow')
    return ''


def _resting(cfg: dict[str, Any]) -> str:
    """The setting that gives every parameter of the backbone the LR 0; empty if there is none."""
    for path, wrapper in optim_wrappers(cfg):
        keys = get(wrapper, 'paramwise_cfg.custom_keys')
        mine = {key: item for key, item in keys.items()
                if isinstance(item, dict) and ('backbone' in key or key in 'backbone.')} \
            if isinstance(keys, dict) else {}
        rates = {key: item.get('lr', item.get('lr_mult', 1)) for key, item in mine.items()}
        whole = next((key for key in rates if key in 'backbone.'), None)
        if whole is not None and not any(rates.values()):
            return f'{path}.paramwise_cfg.custom_keys.{whole}'
    return ''
