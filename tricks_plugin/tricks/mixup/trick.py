"""The config edit that brings geometry-preserving mixup into a detection training."""

from __future__ import annotations

import dataclasses
from typing import Any

from ... import config_edit
from ...config_edit import Pipeline, find, is_a, type_name
from ..base import TRICKS, Params, Trick, Verdict, bounded

__all__ = ['MixUp', 'MixUpParams']

_PACKERS = ('PackDetInputs', 'PackWeightedDetInputs')
_OTHER_MIXUPS = ('MixUp', 'CachedMixUp', 'YOLOXMixUp', 'YOLOv5MixUp')
_WEIGHTED_HEADS = ('YOLOV3Head',)
_SAMPLERS = ('DefaultSampler', 'InfiniteSampler')
_OBSTACLES = {
    'MultiBranch': 'it makes several views of each image for semi-supervised training',
    'SemiBaseDetector': 'a semi-supervised detector pairs views of one image',
    'PackTrackInputs': 'it packs videos, whose frames belong together',
    'PackReIDInputs': 'it packs images for re-identification, which have no boxes',
    'TransformBroadcaster': 'it transforms the frames of a video together',
    'LoadPanopticAnnotations': 'panoptic maps hold one label per pixel and cannot be mixed',
    'LoadProposals': 'stored proposals belong to one image',
    'ODVGDataset': 'its text belongs to one image',
    'RefCocoDataset': 'its text belongs to one image',
    'MDETRStyleRefCocoDataset': 'its text belongs to one image',
    'Flickr30kDataset': 'its text belongs to one image',
    'DODDataset': 'its text belongs to one image',
    'RandomSamplingNegPos': 'it draws a text for each image',
}


@dataclasses.dataclass(frozen=True)
class MixUpParams(Params):
    """Parameters of `mixup`."""

    alpha: float = bounded(1.5, 'lam is drawn from Beta(alpha, alpha)', gt=0)
    prob: float = bounded(1.0, 'share of the samples that are mixed', gt=0, le=1)
    partner: str = bounded('cache', 'where the second image comes from: earlier samples, or a '
                           'second load', choices=('cache', 'dataset'))
    cache_size: int = bounded(16, 'samples that each worker keeps as partners', ge=2)
    off_fraction: float = bounded(0.1, 'last part of the training without mixup', ge=0, lt=1)
    off_epochs: int | None = bounded(None, 'the same in epochs; overrides off_fraction', ge=0)
    replace: bool = bounded(False, "take out the config's own mixup and put this one in")
    pad_value: float = bounded(0.0, 'grey level of what an image does not cover', ge=0, le=255)


@TRICKS.register
class MixUp(Trick):
    """Inserts the mixing before the packing, and the hooks that end it and weight the losses."""

    name = 'mixup'
    title = 'Geometry-preserving mixup of two images, each box weighted by its share'
    paper = 'arXiv 1902.04103 section 3.1'
    order = 50
    Params = MixUpParams
    evidence = 'tricks_plugin.tricks.mixup.evidence:MixUpEvidence'

    def apply(self, cfg: dict[str, Any]) -> Verdict:
        """Edits the pipelines that end in the packing; see the README for what is left alone."""
        dataset = config_edit.get(cfg, 'train_dataloader.dataset')
        scope = config_edit.default_scope(cfg)
        pipelines = config_edit.train_pipelines(cfg)
        if not pipelines:
            return Verdict.not_applicable('the config has no training pipeline')
        for path, _ in find(dataset, 'GeometryPreservingMixUp', scope=scope,
                            path='train_dataloader.dataset'):
            return Verdict.present(f'{path} is GeometryPreservingMixUp')
        for path, node in find(dataset, *_OTHER_MIXUPS, scope=scope,
                               path='train_dataloader.dataset'):
            if not self.params.replace:
                return Verdict.present(f'{path} is {type_name(node)}; mixup.replace=True would '
                                       'put this trick in its place')
            if not any(node is step for pipeline in pipelines for step in pipeline.steps):
                return Verdict.not_applicable(f'{path} is {type_name(node)} inside another '
                                              'transform, where it cannot be replaced')
        targets, reason = _targets(pipelines, scope)
        reason = _obstacle(cfg, pipelines, scope) or reason
        if not reason and self.params.partner == 'dataset':
            reason = _no_second_load(cfg, targets, scope)
        if reason:
            return Verdict.not_applicable(reason)
        self._edit(cfg, pipelines, targets, scope)
        params = self.params
        return Verdict.applied(
            _weighting_note(cfg, scope), alpha=params.alpha, prob=params.prob,
            off_fraction=params.off_fraction, off_epochs=params.off_epochs)

    def _edit(self, cfg: dict[str, Any], pipelines: list[Pipeline], targets: list[Pipeline],
              scope: str) -> None:
        for pipeline in pipelines:
            pipeline.steps = _without(pipeline.steps, scope)
        hooks = cfg.get('custom_hooks') or []
        hooks = list(hooks) if isinstance(hooks, (list, tuple)) else [hooks]
        for hook in hooks:
            if isinstance(hook, dict) and _ends_in_packer(hook.get('switch_pipeline'), scope):
                steps = _without(hook['switch_pipeline'], scope)
                hook['switch_pipeline'] = [*steps[:-1], _weighted(steps[-1])]
        cfg['custom_hooks'] = [*hooks, *self._hooks()]
        packer = _weighted(targets[0].steps[-1])
        if self.params.partner == 'dataset' and not _is_mix_wrapper(targets[0], scope):
            for pipeline in targets:
                pipeline.steps = pipeline.steps[:-1]
            cfg['train_dataloader']['dataset'] = dict(
                type='mmdet.MultiImageMixDataset', dataset=cfg['train_dataloader']['dataset'],
                pipeline=[self._transform(), packer])
            return
        for pipeline in targets:
            *steps, last = pipeline.steps
            pipeline.steps = [*steps, self._transform(), _weighted(last)]

    def _transform(self) -> dict[str, Any]:
        params = self.params
        return dict(type='tricks_plugin.GeometryPreservingMixUp', alpha=params.alpha,
                    prob=params.prob, partner=params.partner, cache_size=params.cache_size,
                    pad_value=params.pad_value)

    def _hooks(self) -> list[dict[str, Any]]:
        params = self.params
        hooks: list[dict[str, Any]] = [dict(type='tricks_plugin.MixUpWeightingHook')]
        if params.off_epochs or (params.off_epochs is None and params.off_fraction > 0):
            hooks.insert(0, dict(type='tricks_plugin.MixUpOffHook',
                                 off_fraction=params.off_fraction, off_epochs=params.off_epochs))
        return hooks


def _targets(pipelines: list[Pipeline], scope: str) -> tuple[list[Pipeline], str]:
    """The pipelines that end in mmdet's packing, and why some other one stands in the way."""
    targets: list[Pipeline] = []
    for pipeline in pipelines:
        inside = any(pipeline.path.startswith(outer.path[:-len('pipeline')]) for outer in targets)
        if inside:
            continue  # a wrapper's own pipeline packs what this one makes
        last = pipeline.steps[-1] if pipeline.steps else None
        if _is_packer(last, scope):
            targets.append(pipeline)
            continue
        name = type_name(last) if isinstance(last, dict) else 'nothing'
        if isinstance(last, dict) and is_a(last, *_PACKERS, scope=scope):
            return [], (f'{pipeline.path} ends in {last["type"]}, another PackDetInputs than '
                        "mmdet's, which PackWeightedDetInputs would replace")
        return [], f'{pipeline.path} ends in {name or "nothing"}, not in PackDetInputs'
    return targets, ''


def _is_packer(step: Any, scope: str) -> bool:
    """Whether a step is mmdet's PackDetInputs itself, or the weighted one of this package."""
    if not isinstance(step, dict) or type_name(step) not in _PACKERS:
        return False
    kind = str(step['type'])
    found = config_edit.lookup_class(kind, scope)
    home = found.__module__ if found is not None else kind if '.' in kind else f'{scope}.{kind}'
    return home.split('.')[0] in ('mmdet', 'tricks_plugin')


def _ends_in_packer(steps: Any, scope: str) -> bool:
    return isinstance(steps, list) and bool(steps) and _is_packer(steps[-1], scope)


def _weighted(packer: dict[str, Any]) -> dict[str, Any]:
    return {**packer, 'type': 'tricks_plugin.PackWeightedDetInputs'}


def _without(steps: list[Any], scope: str) -> list[Any]:
    """The steps without any other mixup."""
    return [step for step in steps
            if not (isinstance(step, dict) and is_a(step, *_OTHER_MIXUPS, scope=scope))]


def _obstacle(cfg: dict[str, Any], pipelines: list[Pipeline], scope: str) -> str:
    """Why samples of this training cannot be mixed, or an empty string."""
    parts = {'train_dataloader.dataset': cfg['train_dataloader']['dataset'],
             'model': cfg.get('model')}
    for path, part in parts.items():
        for where, node in find(part, *_OBSTACLES, path=path, scope=scope):
            known = next(name for name in _OBSTACLES if is_a(node, name, scope=scope))
            return f'{where} is {type_name(node)}: {_OBSTACLES[known]}'
    for pipeline in pipelines:
        for where, node in find(pipeline.steps, 'LoadAnnotations', path=pipeline.path,
                                scope=scope):
            if node.get('with_seg'):
                return f'{where} loads semantic maps, which cannot be mixed'
            if node.get('with_bbox') is False:
                return f'{where} loads no boxes'
    return ''


def _is_mix_wrapper(pipeline: Pipeline, scope: str) -> bool:
    return is_a(pipeline.owner, 'MultiImageMixDataset', scope=scope)


def _no_second_load(cfg: dict[str, Any], targets: list[Pipeline], scope: str) -> str:
    """Why mmdet's MultiImageMixDataset cannot bring the partner here, or an empty string."""
    advice = "; mixup.partner='cache' works"
    for path, hook in find(cfg.get('custom_hooks'), 'PipelineSwitchHook', scope=scope,
                           path='custom_hooks'):
        return f'{path} is {type_name(hook)}, which cannot switch a MultiImageMixDataset{advice}'
    wrappers = [pipeline for pipeline in targets if _is_mix_wrapper(pipeline, scope)]
    if wrappers:
        if len(targets) > 1 or len(wrappers[0].steps) > 1:
            return (f"{wrappers[0].path} transforms samples that a partner from the dataset "
                    f'would miss{advice}')
        return ''
    if any(pipeline.steps[-1] != targets[0].steps[-1] for pipeline in targets):
        return f'the pipelines pack differently, one wrapper cannot pack for all{advice}'
    sampler = cfg['train_dataloader'].get('sampler')
    if isinstance(sampler, dict) and not is_a(sampler, *_SAMPLERS, scope=scope):
        return (f'the sampler {type_name(sampler)} asks the dataset for what '
                f'MultiImageMixDataset does not pass on{advice}')
    return ''


def _weighting_note(cfg: dict[str, Any], scope: str) -> str:
    """One sentence on the heads whose losses stay unweighted."""
    names = []
    for _, node in config_edit.walk(cfg.get('model')):
        name = type_name(node)
        if name.endswith('Head') and not name.endswith('RoIHead') and name not in names \
                and not is_a(node, *_WEIGHTED_HEADS, scope=scope):
            names.append(name)
    if not names:
        return ''
    return f'losses of {", ".join(names)} are not weighted per box'
