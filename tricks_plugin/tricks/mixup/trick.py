"""The config edit that brings geometry-preserving mixup into a detection training."""

from __future__ import annotations

import dataclasses
from typing import Any

from ... import config_edit
from ...config_edit import Pipeline, find, type_name
from ..base import TRICKS, Params, Trick, Verdict, bounded
from . import placement
from .weighting.families import is_weighted

__all__ = ['MixUp', 'MixUpParams']


@dataclasses.dataclass(frozen=True)
class MixUpParams(Params):
    """Parameters of `mixup`."""

    alpha: float = bounded(1.5, 'lam is drawn from Beta(alpha, alpha)', gt=0)
    prob: float = bounded(1.0, 'share of the samples that are mixed', gt=0, le=1)
    partner: str = bounded('cache', 'where the second image comes from: earlier samples, or a '
                           'fresh load for each', choices=('cache', 'dataset'))
    cache_size: int = bounded(64, 'samples that each worker keeps as partners', ge=2)
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
        other = placement.other_mixup(dataset, scope)
        if other is not None:
            path, node = other
            if not self.params.replace:
                return Verdict.present(f'{path} is {type_name(node)}; mixup.replace=True would '
                                       'put this trick in its place')
            if not any(node is step for pipeline in pipelines for step in pipeline.steps):
                return Verdict.not_applicable(f'{path} is {type_name(node)} inside another '
                                              'transform, where it cannot be replaced')
        targets, reason = placement.targets(pipelines, scope)
        reason = placement.obstacle(cfg, pipelines, scope) or reason
        if reason:
            return Verdict.not_applicable(reason)
        self._edit(cfg, pipelines, targets, scope)
        params = self.params
        notes = (placement.dropped_proposals(pipelines, scope), _weighting_note(cfg, scope))
        return Verdict.applied(
            '; '.join(filter(None, notes)), alpha=params.alpha, prob=params.prob,
            off_fraction=params.off_fraction, off_epochs=params.off_epochs)

    def _edit(self, cfg: dict[str, Any], pipelines: list[Pipeline], targets: list[Pipeline],
              scope: str) -> None:
        for pipeline in pipelines:
            pipeline.steps = placement.without(pipeline.steps, scope)
        for pipeline in targets:
            *steps, last = pipeline.steps
            pipeline.steps = [*steps, self._transform(), placement.weighted(last, scope)]
        hooks = cfg.get('custom_hooks') or []
        hooks = list(hooks) if isinstance(hooks, (list, tuple)) else [hooks]
        for hook in hooks:
            if isinstance(hook, dict) and \
                    placement.ends_in_packer(hook.get('switch_pipeline'), scope):
                *steps, last = placement.without(hook['switch_pipeline'], scope)
                hook['switch_pipeline'] = [*steps, placement.weighted(last, scope)]
        params = self.params
        cfg['custom_hooks'] = [*hooks, dict(
            type='tricks_plugin.MixUpOffHook', off_fraction=params.off_fraction,
            off_epochs=params.off_epochs), dict(type='tricks_plugin.MixUpWeightingHook')]

    def _transform(self) -> dict[str, Any]:
        params = self.params
        return dict(type='tricks_plugin.GeometryPreservingMixUp', alpha=params.alpha,
                    prob=params.prob, partner=params.partner, cache_size=params.cache_size,
                    pad_value=params.pad_value)


def _weighting_note(cfg: dict[str, Any], scope: str) -> str:
    """One sentence on the heads whose losses stay unweighted."""
    names = []
    for _, node in config_edit.walk(cfg.get('model')):
        name = type_name(node)
        if not name.endswith(('Head', 'Protonet')) or name in names:
            continue
        kind = config_edit.lookup_class(str(node['type']), scope)
        if not (isinstance(kind, type) and is_weighted(kind)):
            names.append(name)
    return f'losses of {", ".join(names)} are not weighted per box' if names else ''
