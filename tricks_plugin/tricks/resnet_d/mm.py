"""The config edit that turns a ResNet into one of its variants, with weights that fit it."""

from __future__ import annotations

import functools
from typing import Any

from ...mm.config_edit import (
    default_scope,
    get,
    lookup_class,
    not_seen,
    optim_wrappers,
    type_name,
    walk,
)
from ...mm.pretrained import backbone_weights, initial_checkpoint, initial_items
from ...plan import ConfigEdit, Verdict
from . import DEPTHS
from .functional import resnet_multiply_adds

__all__ = ['Edit']

_PATH = 'model.backbone'
_INITIALIZER = 'tricks_plugin.ResNetDPretrainedInit'
# Where mmengine's tables may hold ImageNet weights of a variant; they decide which depths exist.
_WEIGHTS = {'b': 'torchvision://resnet{}', 'c': 'open-mmlab://resnet{}_v1c',
            'd': 'mmcls://resnet{}_v1d'}
# All three were trained on RGB images normalised so.
_NORMALISATION: dict[str, Any] = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
                      bgr_to_rgb=True)
_LIBRARIES = ('mmdet', 'mmpretrain')
# Their (deep_stem, avg_down); None where settings decide. mmdet has no ResNetV1c.
_NETWORKS: dict[str, tuple[bool, bool] | None] = {
    'ResNet': None, 'ResNetV1c': (True, False), 'ResNetV1d': (True, True)}
_SHAPE = dict(in_channels=3, stem_channels=64, base_channels=64, conv_cfg=None)


class Edit(ConfigEdit):
    """Edits the backbone, its weights, and the normalisation that they expect."""

    def apply(self, cfg: dict[str, Any]) -> Verdict:
        """Turns one ResNet into another, or says why not."""
        backbone, scope = get(cfg, _PATH), default_scope(cfg)
        if not isinstance(backbone, dict) or not type_name(backbone):
            return Verdict.not_applicable('the config has no model.backbone')
        if not optim_wrappers(cfg):
            return Verdict.not_applicable('the config does not train')
        if not (library := _library(str(backbone['type']), scope)):
            home = scope if scope in _LIBRARIES else 'mmdet'
            return Verdict.not_applicable(f"{backbone['type']} is not a plain ResNet of {home}"
                                          + not_seen(backbone, scope))
        depth = backbone.get('depth')
        if depth not in DEPTHS:
            return Verdict.not_applicable(f'a ResNet of depth {depth!r} is not known')
        before, old = _variant(backbone), _checkpoint(backbone)
        if not before:
            return Verdict.not_applicable(f'{_PATH} mixes tweaks (style, deep_stem, avg_down) as '
                                          'no variant of the paper does')
        wanted = self.params.variant
        new = self.params.checkpoint or (old and _weights(wanted, depth))
        mine = _initializer(backbone) == _INITIALIZER
        reason = self._obstacle(cfg, backbone, before, old, new)
        unseen = not_seen(backbone, scope)
        if before == wanted and (reason or not self._reloads(old, mine)):
            return Verdict.present(
                f'{type_name(backbone)} is ResNet{depth}-{wanted.upper()} already{unseen}',
                dict(variant=wanted, pretrained=mine))
        if reason:
            return Verdict.not_applicable(reason)
        _rebuild(backbone, wanted, library)
        if new:
            backbone.pop('pretrained', None)
            backbone['init_cfg'] = dict(type=_INITIALIZER, checkpoint=new)
            if not self.params.checkpoint:
                _normalise(cfg, library)
        return Verdict.applied(self._reason(depth, before, old, new, unseen), variant=wanted,
                               pretrained=bool(new))

    def _obstacle(self, cfg: dict[str, Any], backbone: dict[str, Any], before: str,
                  old: str | None, new: str | None) -> str:
        """Why the variant cannot be trained from this config; empty if it can."""
        depth, wanted = backbone['depth'], self.params.variant
        whole = [one for one in backbone_weights(cfg) if one.part == 'model']
        if whole and whole[0].key != 'load_from':
            what = f' ({whole[0].source})' if whole[0].source else ''
            return f'{whole[0].path} brings weights of another architecture{what}'
        if whole and before != wanted:
            return 'load_from brings weights of another architecture'
        if old and not new:
            known = [str(one) for one in DEPTHS if _weights(wanted, one)]
            return (f'{_PATH} starts from {old}, and mmengine knows no weights of '
                    f'ResNet{depth}-{wanted.upper()}, only of depth {", ".join(known) or "none"}; '
                    'checkpoint can name your own')
        if not new or self.params.checkpoint:
            return ''
        norm = get(backbone, 'norm_cfg.type', 'BN')
        odd = next((key for key, value in _SHAPE.items()
                    if backbone.get(key) not in (None, value)), None)
        if odd or 'BN' not in str(norm):
            what = f'{odd}={backbone.get(odd)!r}' if odd else f'norm_cfg.type={norm!r}'
            return (f'{_PATH}.{what} does not fit {new}; checkpoint can name your own weights')
        if not _preprocessors(cfg):
            return ('the config has no data_preprocessor with mean and std, which must be those of '
                    f'{new}')
        return ''

    def _reloads(self, old: str | None, mine: bool) -> bool:
        """Whether the right network would get other weights, or the same ones completely."""
        if self.params.checkpoint:
            return old != self.params.checkpoint or not mine
        # mmengine's own initializer leaves the stem of these at random.
        return bool(old) and old.startswith('mmcls://') and not mine  # type: ignore[union-attr]

    def _reason(self, depth: int, before: str, old: str | None, new: str | None,
                unseen: str) -> str:
        wanted = self.params.variant
        cost = [resnet_multiply_adds(depth, one) / 1e9 for one in (before, wanted)]
        name = f'ResNet{depth}-{wanted.upper()}'
        reason = f'{name} stays' if before == wanted else f'{name} in place of ' + (
            'the original' if before == 'a' else f'-{before.upper()}')
        reason += unseen
        reason += (f'; a forward pass takes {cost[1]:.2f} in place of {cost[0]:.2f} billion '
                   'multiply-adds at 224 px, also at inference') if cost[0] != cost[1] else ''
        if not new:
            return f'{reason}; it trains from scratch as before'
        reason += f'; its weights are {new}' + (f' in place of {old}' if old and old != new else '')
        if self.params.checkpoint:
            reason += ', and the data_preprocessor stays: it must be the one of these weights'
        return reason


def _library(kind: str, scope: str) -> str:
    """The library whose plain ResNet a type is, by its scope where it cannot be found; or empty."""
    found = lookup_class(kind, scope)
    home = found.__module__ if found is not None else kind if '.' in kind else f'{scope}.'
    library = home.partition('.')[0]
    # mmpretrain's networks have the settings of its own configs, and not those of detectors.
    known = library == 'mmdet' or library == scope == 'mmpretrain'
    return library if known and type_name(kind) in _NETWORKS else ''


def _variant(backbone: dict[str, Any]) -> str:
    """The paper's letter of a ResNet's config ('a' is the original); empty for mixtures."""
    own = _NETWORKS[type_name(backbone)]
    deep, pooled = own or (bool(backbone.get(key)) for key in ('deep_stem', 'avg_down'))
    # In blocks of two 3x3 convolutions the style has no effect.
    skips = backbone.get('style', 'pytorch') != 'pytorch' and backbone['depth'] >= 50
    return {(True, False, False): 'a', (False, False, False): 'b', (False, True, False): 'c',
            (False, True, True): 'd'}.get((skips, deep, pooled), '')


def _rebuild(backbone: dict[str, Any], variant: str, library: str) -> None:
    """Sets the architecture: by mmpretrain's classes there, by settings in mmdet."""
    kind = str(backbone['type'])
    settings: dict[str, Any] = dict(style='pytorch')
    if _NETWORKS[type_name(kind)] or library == 'mmpretrain':
        name = type_name(kind)
        wanted = {'b': 'ResNet', 'c': 'ResNetV1c', 'd': 'ResNetV1d'}[variant]
        if library == 'mmdet' and wanted == 'ResNetV1c':
            wanted = 'ResNet'
        backbone['type'] = kind[:len(kind) - len(name)] + wanted
    if not _NETWORKS[type_name(backbone)]:
        settings.update(deep_stem=variant in 'cd', avg_down=variant == 'd')
    else:
        for key in ('deep_stem', 'avg_down'):
            backbone.pop(key, None)
    for key, value in settings.items():
        if backbone.get(key, 'pytorch' if key == 'style' else False) != value:
            backbone[key] = value


def _checkpoint(backbone: dict[str, Any]) -> str | None:
    """The weights that a backbone starts from, or None."""
    return initial_checkpoint(backbone.get('init_cfg')) or backbone.get('pretrained') or None


def _initializer(backbone: dict[str, Any]) -> str:
    return next((str(one.get('type')) for one in initial_items(backbone.get('init_cfg'))
                 if one.get('checkpoint')), '')


@functools.lru_cache(maxsize=32)
def _weights(variant: str, depth: int) -> str | None:
    """The name of a variant's ImageNet weights, if the installed mmengine knows it."""
    from mmengine.runner import checkpoint
    name = _WEIGHTS[variant].format(depth)
    scheme, _, key = name.partition('://')
    table = {'torchvision': checkpoint.get_torchvision_models, 'mmcls': checkpoint.get_mmcls_models,
             'open-mmlab': checkpoint.get_external_models}[scheme]
    return name if key in table() else None


def _preprocessors(cfg: dict[str, Any]) -> list[dict[str, Any]]:
    """Every data_preprocessor that normalises: the model's, and a copy at the config's top."""
    return [node for section in (get(cfg, 'model.data_preprocessor'), cfg.get('data_preprocessor'))
            for _, node in walk(section)
            if all(isinstance(node.get(key), (list, tuple)) for key in ('mean', 'std'))]


def _normalise(cfg: dict[str, Any], library: str) -> None:
    """Lets the normalisation follow the weights, also where a transform fills with the mean."""
    old = [list(node['mean']) for node in _preprocessors(cfg)]
    wanted = {'to_rgb' if library == 'mmpretrain' and key == 'bgr_to_rgb' else key: value
              for key, value in _NORMALISATION.items()}
    for node in _preprocessors(cfg):
        if any(node.get(key) != value for key, value in wanted.items()):
            node.pop('rgb_to_bgr', None)
            node.update({key: list(value) if isinstance(value, list) else value
                         for key, value in wanted.items()})
    for _, node in walk(cfg):
        if isinstance(node.get('mean'), (list, tuple)) and 'to_rgb' in node \
                and list(node['mean']) in old:
            new = dict(mean=list(_NORMALISATION['mean']), std=list(_NORMALISATION['std']),
                       to_rgb=True)
            node.update({key: value for key, value in new.items() if key in node})
