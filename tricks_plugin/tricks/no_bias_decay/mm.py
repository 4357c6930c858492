"""The config edit that takes the weight decay off biases and norm parameters."""

from __future__ import annotations

import inspect
import re
from typing import Any

from ...mm.config_edit import (
    default_scope,
    is_a,
    lookup_class,
    not_seen,
    optim_wrappers,
    type_name,
    walk,
)
from ...plan import ConfigEdit, Verdict

__all__ = ['Edit']

_CONSTRUCTOR = 'tricks_plugin.NoBiasDecayOptimWrapperConstructor'
_STOCK = 'DefaultOptimWrapperConstructor'
_OURS = 'GroupRulesConstructor'  # mmengine's rules hold in it, and this room's derives from it
_LAYER_DECAY = 'LearningRateDecayOptimizerConstructor'
_BY_DEPTH = 'LearningRateDecayOptimWrapperConstructor'
_TORCH_NORM = re.compile(r'^(Sync)?(BN|IN|GN|LN|BatchNorm|InstanceNorm|GroupNorm|LayerNorm)'
                         r'(\d[dD])?$')
# Parts whose biases or norms mmengine's own rules do not reach; see the constructor.
_UNREACHED = re.compile(r'Attention|(?<!Swin)Transformer|DETR|DINO|DII|Deform|DCN|DDOD|SSDVGG|GLIP'
                        r'|Bert|CLIP|ConvNeXt|BEiT|CaiT|DeiT3|EVA02|(Pool|RI|Efficient|Con)Former|VAN'
                        r'|ViT|ViG|XCiT|Mixer|^TNT$|PCPVT|^SVT$|EdgeNeXt|HorNet|MLPNet'
                        r'|HuggingFace|Timm', re.IGNORECASE)
_OPTIONS = {re.compile(r'dcn|deform', re.IGNORECASE): 'the deformable convolution',
            re.compile(r'layer_?scale', re.IGNORECASE): 'LayerScale'}


class Edit(ConfigEdit):
    """Sets mmengine's multipliers, or this room's constructor where they do not suffice."""

    def apply(self, cfg: dict[str, Any]) -> Verdict:
        """Edits ``optim_wrapper``; the optimizer keeps its decay for all other parameters."""
        wrappers = optim_wrappers(cfg)
        if not wrappers:
            return Verdict.not_applicable('the config has no optimizer')
        path, wrapper = wrappers[0]
        if path != 'optim_wrapper':
            several = type_name(cfg['optim_wrapper'].get('constructor') or '')
            return Verdict.not_applicable(
                f'several optimizers are built by the constructor {several or "(none)"}, '
                'which decides over the weight decay itself')
        paramwise = wrapper.get('paramwise_cfg')
        if paramwise is not None and not isinstance(paramwise, dict):
            return Verdict.not_applicable('optim_wrapper.paramwise_cfg is not a dict')
        scope = default_scope(cfg)
        constructor: Any = wrapper.get('constructor')
        if isinstance(constructor, dict):
            constructor = constructor.get('type')
        verdict = _by_constructor(constructor, scope)
        if verdict is not None:
            return verdict
        decay = _weight_decay(wrapper['optimizer'], scope)
        if decay is None:
            return Verdict.not_applicable(
                f'the weight decay of {type_name(wrapper["optimizer"])} is not known'
                + not_seen(wrapper['optimizer'], scope))
        if decay == 0:
            return Verdict.not_applicable('there is no weight decay to exempt from')
        if type_name(constructor or _STOCK) == _BY_DEPTH:
            return _by_depth(wrapper, paramwise or {}, decay)
        return _edit(cfg, wrapper, paramwise or {}, decay)


def _by_depth(wrapper: dict[str, Any], paramwise: dict[str, Any], decay: float) -> Verdict:
    """The constructor of mmpretrain for layer-wise rates, which knows mmengine's multipliers."""
    custom = _cancelling_keys(paramwise.get('custom_keys'))
    if custom:
        return Verdict.not_applicable(
            f'custom_keys {", ".join(map(repr, custom))} leave a decay on what they match, and the '
            f'optimizer is built by {_BY_DEPTH}')
    if _settled(paramwise) and paramwise.get('flat_decay_mult') == 0:
        return Verdict.present(f'paramwise_cfg of {_BY_DEPTH} takes the decay off biases and norms '
                               'already', {})
    wrapper['paramwise_cfg'] = {**paramwise, 'norm_decay_mult': 0.0, 'bias_decay_mult': 0.0,
                                'flat_decay_mult': 0.0}
    return Verdict.applied(f'weight decay {decay:g} stays on the other parameters only; by the '
                           f'multipliers of {_BY_DEPTH}')


def _settled(paramwise: dict[str, Any]) -> bool:
    """Whether mmengine's multipliers take the decay off biases and norms that they reach."""
    flat = paramwise.get('flat_decay_mult')
    return all(flat == 0 if (own := paramwise.get(key)) is None else own == 0
               for key in ('bias_decay_mult', 'norm_decay_mult'))


def _by_constructor(constructor: Any, scope: str) -> Verdict | None:
    """The verdict where the config names a constructor that settles it."""
    name = type_name(constructor or _STOCK)
    if name in (_STOCK, _BY_DEPTH):
        return None
    if is_a(constructor, _CONSTRUCTOR.rsplit('.', 1)[-1], scope=scope):
        return Verdict.present(f'{name} takes the decay off biases and norms already', {})
    if is_a(constructor, _OURS, scope=scope):
        return None
    if name == _LAYER_DECAY:
        return Verdict.present(f'{name} takes the decay off all biases and vectors already', {})
    return Verdict.not_applicable(
        f'the optimizer is built by {name}, which decides over the weight decay itself'
        + not_seen(constructor, scope))


def _weight_decay(optimizer: dict[str, Any], scope: str) -> float | None:
    """The optimizer's weight decay, by its class's default where the config has none."""
    value = optimizer.get('weight_decay')
    if value is None:
        kind = optimizer.get('type')
        found = lookup_class(kind, scope) if isinstance(kind, str) else kind
        parameters = inspect.signature(found).parameters if callable(found) else {}
        value = parameters['weight_decay'].default if 'weight_decay' in parameters else None
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if known else None  # type: ignore[arg-type]


def _edit(
    cfg: dict[str, Any], wrapper: dict[str, Any], paramwise: dict[str, Any], decay: float,
) -> Verdict:
    custom = _cancelling_keys(paramwise.get('custom_keys'))
    # A flat_decay_mult of 0 reaches every vector, whatever its name.
    unreached = '' if paramwise.get('flat_decay_mult') == 0 else _unreached(cfg.get('model'))
    if _settled(paramwise) and not custom and not unreached:
        return Verdict.present('paramwise_cfg takes the decay off biases and norms already', {})
    reason = f'weight decay {decay:g} stays on the other parameters only'
    if wrapper['optimizer'].get('weight_decay') is None:
        wrapper['optimizer']['weight_decay'] = decay
        reason += f', and is written out, being the default of {type_name(wrapper["optimizer"])}'
    if custom or unreached:
        wrapper['constructor'] = _CONSTRUCTOR
        why = f'custom_keys {", ".join(map(repr, custom))}' if custom else unreached
        verb = ('would bring it back' if custom else
                "may have norms that mmengine's rules do not reach" if unreached == 'TimmBackbone'
                else "is not reached by mmengine's rules")
        reason += f'; by a constructor of its own, since {why} {verb}'
    else:
        # Without rules of its own mmengine takes model.parameters(), where a layer under two names
        # (SwAVNeck's norm) stands once; with them it walks the layers, and meets it twice.
        shared = {} if paramwise else {'bypass_duplicate': True}
        wrapper['paramwise_cfg'] = {**paramwise, **shared, 'norm_decay_mult': 0.0,
                                    'bias_decay_mult': 0.0}
    return Verdict.applied(reason)


def _cancelling_keys(custom_keys: Any) -> list[str]:
    """The entries of ``custom_keys`` that leave a weight decay on what they match."""
    if not isinstance(custom_keys, dict):
        return []
    return [key for key, entry in custom_keys.items()
            if not (isinstance(entry, dict) and entry.get('decay_mult') == 0)]


def _unreached(model: Any) -> str:
    """The first part of a model with biases or norms that mmengine's rules do not reach."""
    for path, node in walk(model, 'model'):
        kind = type_name(node)
        if path.endswith('norm_cfg'):
            if kind and not _TORCH_NORM.match(kind):
                return f'the norm {kind}'
            continue
        if _UNREACHED.search(kind):
            return kind
        for option, words in _OPTIONS.items():
            if any(isinstance(key, str) and option.search(key) and value
                   for key, value in node.items()):
                return words
    return ''
