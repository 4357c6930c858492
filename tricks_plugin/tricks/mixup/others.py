"""What mixup says of configs of OpenMMLab libraries that it has no edit for."""

from __future__ import annotations

from typing import Any

from ...mm.config_edit import default_scope, get, not_seen, train_pipelines, type_name
from ...mm.libraries import segments
from ...plan import Verdict
from .placement import other_mixup

__all__ = ['lossy_collate', 'verdict']

# The packing steps of OpenMMLab's libraries, and what their samples hold.
_PACKERS = {
    'PackSegInputs': 'maps of pixels (mmseg), which cannot be blended',
    'PackPoseInputs': 'keypoints (mmpose), which this trick has no form for',
    'PackActionInputs': 'clips of videos (mmaction), which this trick has no form for',
    'PackLocalizationInputs': 'features of videos (mmaction), which this trick has no form for',
    'PackMultiTaskInputs': 'labels of several tasks (mmpretrain), which this trick has no form for',
}
_COLLATE = ('yolov5_collate',)


def verdict(cfg: dict[str, Any]) -> Verdict | None:
    """The verdict on a config whose samples are neither boxes nor classes; None for those."""
    if get(cfg, 'train_dataloader.dataset') is None:
        return None
    kind = segments(cfg)
    if kind:
        return Verdict.not_applicable(
            f'{kind} labels pixels: for segmentation mixup costs accuracy, as it blurs what is '
            'told pixel by pixel, and of the tricks the cosine schedule helps (arXiv 1812.01187 '
            'section 6.2)')
    for path in ('model.data_preprocessor.blending', 'data_preprocessor.blending'):
        blending = get(cfg, path)
        if isinstance(blending, dict):  # mmaction's
            kinds = [type_name(one) for one in blending.get('augments') or [blending]]
            if any('Mixup' in one for one in kinds):
                return Verdict.present(f'{path} is {" or ".join(kinds)}')
    scope = default_scope(cfg)
    if other_mixup(get(cfg, 'train_dataloader.dataset'), scope) is not None:
        return None
    for pipeline in train_pipelines(cfg):
        last = pipeline.steps[-1] if pipeline.steps else None
        name = type_name(last) if isinstance(last, dict) else ''
        if name in _PACKERS:
            return Verdict.not_applicable(f'{pipeline.path} ends in {name}, which packs '
                                          f'{_PACKERS[name]}')
        if name == 'PackInputs':
            return Verdict.not_applicable(_no_classifier(cfg, pipeline.path))
    return None


def lossy_collate(cfg: dict[str, Any]) -> str:
    """Why joining samples to a batch would lose the boxes' weights; empty if it would not."""
    collate = type_name(get(cfg, 'train_dataloader.collate_fn') or '')
    return collate in _COLLATE and (
        f'train_dataloader.collate_fn is {collate}, which joins boxes and labels alone and would '
        "lose the boxes' weights") or ''


def _no_classifier(cfg: dict[str, Any], path: str) -> str:
    """Why samples of mmpretrain's packing are not mixed for a model that is no classifier."""
    model = cfg.get('model')
    unseen = not_seen(model, default_scope(cfg)) if isinstance(model, dict) else ''
    return (f'{path} ends in PackInputs, and {type_name(model) or "the model"} is no classifier of '
            f'mmpretrain, whose batches mixup would blend{unseen}')
