"""The config edit that brings geometry-preserving mixup into a detection training."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection
from typing import Any

from ...mm import config_edit
from ...mm.config_edit import Pipeline, find, type_name
from ...plan import TRICKS, Params, Trick, Verdict, bounded
from ...timm.facts import total_epochs
from . import placement
from .weighting.families import is_weighted

__all__ = ['MixUp', 'MixUpParams']

_ALPHA, _OFF_FRACTION = 1.5, 0.1  # detection: arXiv 1902.04103 section 3.1
_TIMM_ALPHA = 0.2  # classification: arXiv 1812.01187 section 5.5, arXiv 1710.09412 section 3.1


@dataclasses.dataclass(frozen=True)
class MixUpParams(Params):
    """Parameters of `mixup`."""

    alpha: float | None = bounded(None, 'lam is drawn from Beta(alpha, alpha); default 1.5 for '
                                  'detection, 0.2 for classification', gt=0)
    prob: float = bounded(1.0, 'share of the samples that are mixed', gt=0, le=1)
    partner: str = bounded('cache', 'where the second image comes from: earlier samples, or a '
                           'fresh load for each', choices=('cache', 'dataset'))
    cache_size: int = bounded(64, 'samples that each worker keeps as partners', ge=2)
    off_fraction: float | None = bounded(
        None, 'last part of the training without mixup; default 0.1 for detection, none for '
        'classification', ge=0, lt=1)
    off_epochs: int | None = bounded(None, 'the same in epochs; overrides off_fraction', ge=0)
    replace: bool = bounded(False, "take out the config's own mixup and put this one in")
    pad_value: float = bounded(0.0, 'grey level of what an image does not cover', ge=0, le=255)


@TRICKS.register
class MixUp(Trick):
    """Inserts the mixing before the packing, and the hooks that end it and weight the losses."""

    name = 'mixup'
    title = 'Geometry-preserving mixup of two images, each box weighted by its share'
    paper = 'arXiv 1902.04103 section 3.1; for classification arXiv 1812.01187 section 5.4'
    order = 50
    Params = MixUpParams
    evidence = 'tricks_plugin.tricks.mixup.evidence:MixUpEvidence'
    timm_main = 'mixup'

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
            '; '.join(filter(None, notes)), alpha=self._alpha, prob=params.prob,
            off_fraction=self._off_fraction, off_epochs=params.off_epochs)

    @property
    def _alpha(self) -> float:
        return _ALPHA if self.params.alpha is None else self.params.alpha

    @property
    def _off_fraction(self) -> float:
        return _OFF_FRACTION if self.params.off_fraction is None else self.params.off_fraction

    def timm_args(
        self, args: dict[str, Any], given: Collection[str] = frozenset(),
    ) -> dict[str, Any] | str | None:
        """Timm's mixup of a batch with itself; off at the end only where it was asked for."""
        if args.get('aug_splits'):
            return '--aug-splits and --mixup exclude each other in timm'
        params = self.params
        settings: dict[str, Any] = {
            'mixup': _TIMM_ALPHA if params.alpha is None else params.alpha}
        if params.prob != 1:
            settings['mixup_prob'] = params.prob
        if params.off_fraction is not None or params.off_epochs is not None:
            total = total_epochs(args)
            share = params.off_fraction or 0.0
            last = params.off_epochs if params.off_epochs is not None else \
                max(math.floor(share * total + 0.5), 1) if share else 0
            # timm counts from 0, and takes 0 for never.
            settings['mixup_off_epoch'] = max(total - last, 1) if last else 0
        return settings

    def timm_note(self, before: dict[str, Any], after: dict[str, Any]) -> str:
        """Says when mixup ends, and what becomes of the user's cutmix."""
        off = after.get('mixup_off_epoch')
        words = [f'off from epoch {off} of {total_epochs(after)}, counted from 0'] if off else []
        if after.get('cutmix') or after.get('cutmix_minmax') is not None:
            words.append('each batch is mixed by it or by your cutmix, '
                         f'by cutmix with probability {after.get("mixup_switch_prob", 0.5):g}')
        return '; '.join(words)

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
        record = cfg.setdefault('tricks_applied', {})
        record['mixup'] = dict(alpha=self._alpha, off_fraction=self._off_fraction)
        cfg['custom_hooks'] = [*hooks, dict(
            type='tricks_plugin.MixUpOffHook', off_fraction=self._off_fraction,
            off_epochs=params.off_epochs), dict(type='tricks_plugin.MixUpWeightingHook')]

    def _transform(self) -> dict[str, Any]:
        params = self.params
        return dict(type='tricks_plugin.GeometryPreservingMixUp', alpha=self._alpha,
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
