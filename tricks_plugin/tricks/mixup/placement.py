"""Where mixup goes in a config: the pipelines it can stand in, and what stands in its way."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ...mm import config_edit
from ...mm.config_edit import Pipeline, find, is_a, type_name
from ...mm.joining import one_image
from .extras import advice
from .sample import REFUSED

__all__ = ['dropped_proposals', 'ends_in_packer', 'obstacle', 'other_mixup', 'targets',
           'undeclared', 'weighted', 'without']

_PACKERS = ('PackDetInputs', 'PackWeightedDetInputs')
_PACKED = ('gt_bboxes', 'gt_bboxes_labels', 'gt_masks', 'gt_mixup_weights', 'gt_instances_ids')
_OTHER_MIXUPS = ('MixUp', 'CachedMixUp', 'YOLOXMixUp', 'YOLOv5MixUp')
_FIX = ("derive it from tricks_plugin.PackWeightedDetInputs, or add 'gt_mixup_weights': "
        "'mixup_weights' to its mapping_table")


def targets(pipelines: list[Pipeline], scope: str) -> tuple[list[Pipeline], str]:
    """The pipelines that end in a packing of boxes, and why some other one stands in the way.

    Args:
        pipelines: Those of the training dataset, outer ones first.
        scope: The config's default scope.

    Returns:
        ``(pipelines, reason)``; no pipelines where there is a reason. Pipelines inside a wrapper
        that packs by itself are no targets.
    """
    found: list[Pipeline] = []
    for pipeline in pipelines:
        if any(pipeline.path.startswith(outer.path[:-len('pipeline')]) for outer in found):
            continue
        last = pipeline.steps[-1] if pipeline.steps else None
        if not _packs(last, scope):
            return [], _wrong_end(pipeline, last, scope)
        found.append(pipeline)
    return found, ''


def _wrong_end(pipeline: Pipeline, last: Any, scope: str) -> str:
    name = type_name(last) if isinstance(last, dict) else ''
    if not name:
        return f'{pipeline.path} ends in nothing that packs'
    if is_a(last, *_PACKERS, scope=scope):
        extra = [key for key in _table(last, scope) if key not in _PACKED]
        words = f"; it also packs {', '.join(extra)}: " + advice(*extra, packed=True) \
            if extra else ''
        return (f'{pipeline.path} ends in {last["type"]}, another PackDetInputs than '
                f"mmdet's, which would lose the boxes' weights: {_FIX}{words}")
    return (f"{pipeline.path} ends in {name}, not in PackDetInputs; to have a packing of your "
            f'own carry the weights, {_FIX}')


def _packs(step: Any, scope: str) -> bool:
    """Whether a step is mmdet's packing, this package's, or one that carries the weights."""
    return _is_plain_packer(step, scope) or _carries_weights(step, scope)


def _is_plain_packer(step: Any, scope: str) -> bool:
    """Whether a step is mmdet's PackDetInputs itself, or the weighted one of this package."""
    if not isinstance(step, dict) or type_name(step) not in _PACKERS:
        return False
    kind = str(step['type'])
    found = config_edit.lookup_class(kind, scope)
    home = found.__module__ if found is not None else kind if '.' in kind else f'{scope}.{kind}'
    return home.split('.')[0] in ('mmdet', 'tricks_plugin')


def _carries_weights(step: Any, scope: str) -> bool:
    """Whether a step is the weighted packing of this package, or packs the weights by itself."""
    if not isinstance(step, dict) or not isinstance(step.get('type'), str):
        return False
    if type_name(step) != 'PackWeightedDetInputs' and \
            is_a(step, 'PackWeightedDetInputs', scope=scope):
        return True
    return _table(step, scope).get('gt_mixup_weights') == 'mixup_weights'


def _table(step: dict[str, Any], scope: str) -> dict[str, Any]:
    """What a packing step's class takes from a sample into ``gt_instances``."""
    table = getattr(config_edit.lookup_class(str(step['type']), scope), 'mapping_table', None)
    return table if isinstance(table, dict) else {}


def undeclared(pipelines: list[Pipeline], per_box: Collection[str], scope: str) -> str:
    """Why values that a user's packing takes along cannot be mixed, or an empty string.

    Args:
        pipelines: Those that end in a packing.
        per_box: The keys that are to be joined: all that goes into ``gt_instances`` must be.
        scope: The config's default scope.
    """
    for pipeline in pipelines:
        last = pipeline.steps[-1]
        keys = [key for key in _table(last, scope) if key not in (*_PACKED, *per_box)]
        if keys:
            return (f"{pipeline.path} ends in {type_name(last)}, which also packs "
                    f"{', '.join(keys)} for each box, and two images have more boxes than one; "
                    f"{advice(*keys, packed=True)}")
    return ''


def ends_in_packer(steps: Any, scope: str) -> bool:
    """Whether steps are a pipeline that ends in a packing which can carry the weights."""
    return isinstance(steps, list) and bool(steps) and _packs(steps[-1], scope)


def weighted(packer: dict[str, Any], scope: str) -> dict[str, Any]:
    """The packing that carries the weights; a user's own that does so stays."""
    if _carries_weights(packer, scope):
        return packer
    return {**packer, 'type': 'tricks_plugin.PackWeightedDetInputs'}


def other_mixup(dataset: Any, scope: str) -> tuple[str, dict[str, Any]] | None:
    """The path and step of another mixup in the training dataset, or None."""
    return next(find(dataset, *_OTHER_MIXUPS, scope=scope, path='train_dataloader.dataset'), None)


def without(steps: list[Any], scope: str) -> list[Any]:
    """The steps without any other mixup."""
    return [step for step in steps
            if not (isinstance(step, dict) and is_a(step, *_OTHER_MIXUPS, scope=scope))]


def obstacle(cfg: dict[str, Any], pipelines: list[Pipeline], allowed: Collection[str],
             scope: str) -> str:
    """Why samples of this training cannot be mixed, or an empty string.

    Args:
        cfg: The config.
        pipelines: Its training pipelines.
        allowed: Keys that the trick's parameters declare to be joined or left.
        scope: The config's default scope.
    """
    if reason := one_image(cfg):
        return reason
    for pipeline in pipelines:
        for where, node in find(pipeline.steps, 'LoadAnnotations', path=pipeline.path,
                                scope=scope):
            for setting, key in (('with_seg', 'gt_seg_map'), ('with_keypoints', 'gt_keypoints')):
                if node.get(setting) and key not in allowed:
                    return f'{where} loads {key}: {REFUSED[key]}'
            if node.get('with_bbox') is False:
                return f'{where} loads no boxes'
        for where, _ in _proposals(pipeline, scope):
            if not _has_rpn(cfg.get('model')):
                return (f'{where} is LoadProposals: stored proposals belong to one image and '
                        'would be dropped, and the model has no RPN to make its own')
    return ''


def dropped_proposals(pipelines: list[Pipeline], scope: str) -> str:
    """One sentence on stored proposals that mixing drops, or an empty string."""
    for pipeline in pipelines:
        for where, _ in _proposals(pipeline, scope):
            return f'proposals of {where} are dropped, as they belong to one image'
    return ''


def _proposals(pipeline: Pipeline, scope: str) -> Any:
    return find(pipeline.steps, 'LoadProposals', path=pipeline.path, scope=scope)


def _has_rpn(model: Any) -> bool:
    """Whether a model does without stored proposals: an RPN, or no second stage."""
    nodes = [node for _, node in config_edit.walk(model)]
    return any(isinstance(node.get('rpn_head'), dict) for node in nodes) or \
        not any('roi_head' in node for node in nodes)
