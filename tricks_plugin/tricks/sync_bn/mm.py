"""The config edit that synchronizes the BatchNorm layers that train."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from typing import Any

from torch import nn

from ...mm.classes import argument_default
from ...mm.config_edit import (
    append_hook,
    default_scope,
    find,
    is_a,
    lookup_class,
    not_seen,
    type_name,
    walk,
)
from ...mm.meta import built_on_meta
from ...plan import ConfigEdit, Verdict

__all__ = ['Edit']

_PLAIN = ('BN', 'BN1d', 'BN2d', 'BN3d', 'BatchNorm1d', 'BatchNorm2d', 'BatchNorm3d')
_SYNCED = ('SyncBN', 'MMSyncBN', 'NaiveSyncBN', 'SyncBatchNorm', 'CrossRankBatchNorm')
# Parts of mmdet with BN layers that no norm_cfg of theirs tells of.
_OWN_BN = ('CTResNetNeck', 'DilatedEncoder', 'CornerHead', 'CLRHead')
# What is not built into the model, or not as a module of its own.
_SKIPPED = ('data_preprocessor', 'init_cfg', 'train_cfg', 'test_cfg')
_HOOK = 'SyncBatchNormHook'


@dataclasses.dataclass(frozen=True)
class _Norm:
    """A place in the model's config that brings BN layers.

    Attributes:
        owner: The part that has them, such as ``model.backbone``.
        path: The setting that names them.
        synced: Whether they are synchronized ones.
        freezers: Settings that keep them in eval mode, each with the value that would not.
    """

    owner: str
    path: str
    synced: bool
    freezers: tuple[tuple[str, Any, Any], ...]


class Edit(ConfigEdit):
    """Adds the hook, where a BN layer trains and none of another kind synchronizes it."""

    def apply(self, cfg: dict[str, Any]) -> Verdict:
        """Reads off the config which BN layers would train; builds no model."""
        model, scope = cfg.get('model'), default_scope(cfg)
        if not isinstance(model, dict):
            return Verdict.not_applicable('the config has no model')
        if not isinstance(cfg.get('train_cfg'), dict):
            return Verdict.not_applicable('the config does not train')
        norms = list(_norms(model, 'model', scope, ()))
        training = [norm for norm in norms if not norm.freezers]
        if norms and not training:
            return Verdict.not_applicable(_frozen_reason(norms))
        reason = _synchronized_by(cfg, model, scope)
        if reason:
            return Verdict.present(reason, {})
        plain = [norm for norm in training if not norm.synced]
        if plain:
            append_hook(cfg, dict(type=f'tricks_plugin.{_HOOK}'))
            return Verdict.applied(_applied_reason(plain, norms))
        if training:
            return Verdict.present(f'{training[0].path} is a synchronized BN already', {})
        built, unbuilt = _built_with_norms(model, scope)
        if built:
            append_hook(cfg, dict(type=f'tricks_plugin.{_HOOK}'))
            return Verdict.applied(f'BN trains in {", ".join(built)}')
        return Verdict.not_applicable(_absent_reason(model, scope, unbuilt))


def _synchronized_by(cfg: dict[str, Any], model: dict[str, Any], scope: str) -> str:
    """What synchronizes every BN layer of the config already, or an empty string."""
    for path, hook in find(cfg.get('custom_hooks'), _HOOK, path='custom_hooks', scope=scope):
        return f'{path} is {type_name(hook)}'
    if isinstance(cfg.get('sync_bn'), str):
        return f"mmengine's own sync_bn={cfg['sync_bn']!r} converts every BN layer"
    if is_a(model, 'RTMDet', scope=scope) and _setting(model, 'use_syncbn', scope) is True:
        return 'model.use_syncbn=True converts every BN layer'
    return ''


def _norms(
    node: Any, path: str, scope: str, freezers: tuple[tuple[str, Any, Any], ...],
) -> Iterator[_Norm]:
    """Every place at or below a node that brings BN layers, defaults of classes included."""
    if isinstance(node, (list, tuple)):
        for index, item in enumerate(node):
            yield from _norms(item, f'{path}[{index}]', scope, freezers)
    if not isinstance(node, dict):
        return
    kind = type_name(node)
    if kind in _PLAIN + _SYNCED:
        yield _Norm(path.rpartition('.')[0], path, kind in _SYNCED, freezers)
        return
    freezers = freezers + _freezers(node, path, scope)
    if 'norm_cfg' not in node:
        yield from _norms(_setting(node, 'norm_cfg', scope), f'{path}.norm_cfg', scope, freezers)
    if is_a(node, *_OWN_BN, scope=scope):
        yield _Norm(path, path, False, freezers)
    for key, item in node.items():
        # Teachers of LAD and of knowledge distillation are no modules of the model, and frozen.
        if key not in _SKIPPED and not str(key).startswith('teacher'):
            yield from _norms(item, f'{path}.{key}', scope, freezers)


def _freezers(
    node: dict[str, Any], path: str, scope: str,
) -> tuple[tuple[str, Any, Any], ...]:
    """The settings of a part that keep all its BN layers in eval mode."""
    found: list[tuple[str, Any, Any]] = []
    if _setting(node, 'norm_eval', scope) is True:
        found.append((f'{path}.norm_eval', True, False))
    frozen = _setting(node, 'frozen_stages', scope)
    if isinstance(frozen, int) and is_a(node, 'ResNet', scope=scope):
        stages = _setting(node, 'num_stages', scope)
        if frozen >= (stages if isinstance(stages, int) else 4):
            found.append((f'{path}.frozen_stages', frozen, -1))
    return tuple(found)


def _setting(node: dict[str, Any], name: str, scope: str) -> Any:
    """A part's setting, by its class's default where the config has none; None if unknown."""
    return node[name] if name in node else argument_default(node, name, scope)


def _accepts(node: dict[str, Any], name: str, scope: str) -> bool:
    """Whether the class of a part takes the argument by name."""
    kind = node.get('type')
    found = lookup_class(kind, scope) if isinstance(kind, str) else None
    try:
        return inspect.isclass(found) and name in inspect.signature(found).parameters
    except (TypeError, ValueError):
        return False


def _applied_reason(plain: list[_Norm], norms: list[_Norm]) -> str:
    owners = list(dict.fromkeys(norm.owner for norm in plain))
    more = f' and {len(owners) - 3} more' if owners[3:] else ''
    reason = f'BN trains in {", ".join(owners[:3])}{more}'
    frozen = next((norm for norm in norms if norm.freezers), None)
    if frozen is not None:
        path, value, _ = frozen.freezers[0]
        reason += f'; {path}={value} keeps its layers frozen, and they are left alone'
    return reason


def _frozen_reason(norms: list[_Norm]) -> str:
    """Names the one place to change: the one with the fewest settings in the way."""
    freezers = min((norm.freezers for norm in norms), key=len)
    now = ' and '.join(f'{path}={value}' for path, value, _ in freezers)
    then = ' and '.join(f'{path}={value}' for path, _, value in freezers)
    verb = 'keeps' if len(freezers) == 1 else 'keep'
    return f'{now} {verb} every BN layer in eval mode; with {then} BN would train'


def _absent_reason(model: dict[str, Any], scope: str, unbuilt: list[str]) -> str:
    necks = model.get('neck')
    for index, neck in enumerate(necks if isinstance(necks, list) else [necks]):
        if isinstance(neck, dict) and _setting(neck, 'norm_cfg', scope) is None \
                and _accepts(neck, 'norm_cfg', scope):
            place = f'model.neck[{index}]' if isinstance(necks, list) else 'model.neck'
            return f"the model has no BN layer; {place}.norm_cfg=dict(type='BN') would add some"
    unseen = next(filter(None, (not_seen(node, scope) for path, node in walk(model, 'model')
                                if _is_part(path, node))), '')
    if unbuilt and not unseen:
        unseen = f' ({", ".join(unbuilt)} was not built for the plan, and not looked into)'
    return f'no BN layer is found in the model{unseen}' if unseen else \
        'the model has no BN layer'


def _built_with_norms(model: dict[str, Any], scope: str) -> tuple[list[str], list[str]]:
    """The parts of mmpretrain's models with BN layers that no setting tells of.

    They are built without memory and asked; the parts of detectors are known by their settings.

    Returns:
        Their paths, and those of parts that could not be built.
    """
    parts = {f'model.{name}': model[name] for name in ('backbone', 'neck', 'head')
             if model.get(name)}
    found, unbuilt = [], []
    if 'model.backbone' not in parts and is_a(model, 'TimmClassifier', scope=scope):
        parts = {'model': model}
    elif 'model.backbone' not in parts and is_a(model, 'HuggingFaceClassifier', scope=scope):
        unbuilt.append('model')  # whose config is fetched from the network
    for path, node in parts.items():
        kinds = [lookup_class(str(one.get('type')), scope) for one in (
            node if isinstance(node, list) else [node]) if isinstance(one, dict)]
        if not any(kind is not None and kind.__module__.startswith('mmpretrain.')
                   for kind in kinds):
            continue
        built = built_on_meta(node, scope)
        if built is None:
            unbuilt.append(path)
        elif any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in built.modules()):
            found.append(path)
    return found, unbuilt


def _is_part(path: str, node: dict[str, Any]) -> bool:
    """Whether a node is a module of its own with layers, rather than a loss or the like."""
    name = path.rsplit('.', 1)[-1].partition('[')[0]
    return bool(node.get('type')) and name in (
        'model', 'backbone', 'neck', 'head', 'bbox_head', 'mask_head', 'rpn_head', 'roi_head',
        'decode_head', 'auxiliary_head', 'encoder', 'decoder')
