"""The config edit that initialises the last scale of each residual branch to zero."""

from __future__ import annotations

import inspect
from collections.abc import Collection
from typing import Any

from ...mm.config_edit import (
    default_scope,
    find,
    get,
    is_a,
    lookup_class,
    optim_wrappers,
    type_name,
)
from ...plan import TRICKS, Trick, Verdict
from ...timm.facts import model_facts

__all__ = ['ZeroGamma']

_PATH = 'model.backbone'
_OPTION = 'zero_init_residual'
_TIMM_OPTION = 'zero_init_last'
# Their option works; mmdet's HRNet has one of the same name that it never reaches.
_BY_OPTION = ('ResNet', 'RegNet')
_BY_HOOK = ('ResNet', 'HRNet', 'Darknet', 'CSPDarknet', 'CSPNeXt', 'MobileNetV2', 'EfficientNet',
            'HourglassNet')


@TRICKS.register
class ZeroGamma(Trick):
    """Zero scales at the end of residual branches, where the backbone starts from scratch."""

    name = 'zero_gamma'
    title = 'the last norm of each residual branch starts at zero'
    paper = 'BoT (arXiv 1812.01187) section 3.1; Goyal et al. (arXiv 1706.02677) section 5.1'
    order = 100
    evidence = 'tricks_plugin.tricks.zero_gamma.evidence:ZeroScaleEvidence'

    def apply(self, cfg: dict[str, Any]) -> Verdict:
        """Adds the hook where the backbone does not do it itself."""
        backbone = get(cfg, _PATH)
        if not isinstance(backbone, dict) or not type_name(backbone):
            return Verdict.not_applicable('the config has no model.backbone')
        if not optim_wrappers(cfg):
            return Verdict.not_applicable('the config does not train')
        scope, name = default_scope(cfg), type_name(backbone)
        for path, node in find(cfg.get('custom_hooks'), 'ZeroGammaHook', path='custom_hooks',
                               scope=scope):
            return Verdict.present(f'{path} is {type_name(node)}')
        if not is_a(backbone, *_BY_HOOK, scope=scope):
            return Verdict.not_applicable(
                f'{name} has no residual branches that end in a norm and are known to this trick')
        reason = _overridden(cfg, backbone)
        if reason:
            return Verdict.not_applicable(reason)
        if is_a(backbone, *_BY_OPTION, scope=scope) and not backbone.get('init_cfg') \
                and backbone.get(_OPTION, _default(backbone, scope)):
            return Verdict.present(f'{name} starts its residual branches at zero '
                                   f'({_OPTION}=True)')
        hooks = cfg.get('custom_hooks') or []
        hooks = list(hooks) if isinstance(hooks, (list, tuple)) else [hooks]
        cfg['custom_hooks'] = [*hooks, dict(type='tricks_plugin.ZeroGammaHook')]
        return Verdict.applied(f'{name} trains from scratch')

    def timm_args(
        self, args: dict[str, Any], given: Collection[str] = frozenset(),
    ) -> dict[str, Any] | str | None:
        """Timm's ``zero_init_last``, which its ResNets have on by default."""
        for flag in ('pretrained', 'pretrained_path', 'initial_checkpoint'):
            if args.get(flag):
                return f'--{flag.replace("_", "-")} brings weights, and the scales with them'
        options = dict(args.get('model_kwargs') or {})
        own, known = options.get(_TIMM_OPTION), model_facts(args)
        if known is None or known.zero_scales:
            return {} if known else f'timm cannot build {args.get("model")!r} to look at its scales'
        if own is False and 'model_kwargs' in given:
            return f'--model-kwargs {_TIMM_OPTION}=False is yours and stands'
        options[_TIMM_OPTION] = True
        wanted = model_facts({**args, 'model_kwargs': options})
        if wanted is None or not wanted.zero_scales:
            return f'{args["model"]} has no {_TIMM_OPTION} that would zero norms at the end of ' \
                'residual branches'
        return {'model_kwargs': options}

    def timm_note(self, before: dict[str, Any], after: dict[str, Any]) -> str:
        """Counts the scales."""
        known = model_facts(after)
        return f'{known.zero_scales} scales of {after["model"]} start at zero' if known else ''


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
    initial = backbone.get('init_cfg')
    initials = initial if isinstance(initial, (list, tuple)) else [initial]
    if backbone.get('pretrained') or any(
            isinstance(one, dict) and (type_name(one) == 'Pretrained' or one.get('checkpoint'))
            for one in initials):
        return f'{_PATH} starts from pretrained weights, whose scales zeroing would lose'
    if cfg.get('load_from'):
        return 'load_from brings weights, and the scales with them'
    if get(backbone, 'norm_cfg.requires_grad') is False:
        return (f'{_PATH}.norm_cfg.requires_grad=False freezes the scales, so that zeros would '
                'stay; requires_grad=True would let them grow')
    return ''
