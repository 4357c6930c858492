"""The config edit that brings geometry-preserving mixup into a detection training."""

from __future__ import annotations

from typing import Any

from ...mm import config_edit
from ...mm.classification import classifier
from ...mm.config_edit import Pipeline, append_hook, find, type_name
from ...mm.ending import OFF_FRACTION, Ending
from ...mm.joining import replacing_hook
from ...plan import ConfigEdit, TrickError, Verdict
from . import mmpretrain, others, placement
from .weighting.families import is_weighted

__all__ = ['Edit']

_ALPHA = 1.5  # detection: arXiv 1902.04103 section 3.1


class Edit(ConfigEdit):
    """Inserts the mixing before the packing, and the hooks that end it and weight the losses."""

    def apply(self, cfg: dict[str, Any]) -> Verdict:
        """Edits the pipelines that end in the packing; see the README for what is left alone."""
        if classifier(cfg) is not None and config_edit.get(cfg, 'train_dataloader.dataset'):
            return mmpretrain.edit(cfg, self.params)
        if verdict := others.verdict(cfg):
            return verdict
        if self.params.partner_shape == 'like' and self.params.partner == 'dataset':
            raise TrickError("tricks.mixup.partner_shape='like' chooses among cached samples, got "
                             "tricks.mixup.partner='dataset'")
        dataset = config_edit.get(cfg, 'train_dataloader.dataset')
        scope = config_edit.default_scope(cfg)
        pipelines = config_edit.train_pipelines(cfg)
        if not pipelines:
            return Verdict.not_applicable(config_edit.no_pipeline(cfg))
        for path, node in find(dataset, 'GeometryPreservingMixUp', scope=scope,
                               path='train_dataloader.dataset'):
            return Verdict.present(f'{path} is GeometryPreservingMixUp',
                                   _promise_of(cfg, node, pipelines, scope))
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
        params = self.params
        per_box = params.per_box or ()
        reason = others.lossy_collate(cfg) or \
            placement.obstacle(cfg, pipelines, (*per_box, *(params.ignore or ())), scope) or \
            reason or placement.undeclared(targets, per_box, scope)
        if reason:
            return Verdict.not_applicable(reason)
        ending, switch = Ending.of(cfg, params, 'tricks.mixup'), replacing_hook(cfg, targets)
        self._edit(cfg, pipelines, targets, scope, ending)
        notes = (ending.replaced(switch, 'mixup') or str(ending),
                 placement.dropped_proposals(pipelines, scope), _weighting_note(cfg, scope))
        return Verdict.applied(
            '; '.join(filter(None, notes)), alpha=self._alpha, prob=params.prob,
            **ending.settings, **({'replaced': True} if switch else {}))

    @property
    def _alpha(self) -> float:
        return _ALPHA if self.params.alpha is None else self.params.alpha

    def _edit(self, cfg: dict[str, Any], pipelines: list[Pipeline], targets: list[Pipeline],
              scope: str, ending: Ending) -> None:
        for pipeline in pipelines:
            pipeline.steps = placement.without(pipeline.steps, scope)
        for pipeline in targets:
            *steps, last = pipeline.steps
            pipeline.steps = [*steps, self._transform(), placement.weighted(last, scope)]
        append_hook(cfg)
        for hook in cfg['custom_hooks']:
            if isinstance(hook, dict) and \
                    placement.ends_in_packer(hook.get('switch_pipeline'), scope):
                *steps, last = placement.without(hook['switch_pipeline'], scope)
                hook['switch_pipeline'] = [*steps, placement.weighted(last, scope)]
        append_hook(cfg, dict(type='tricks_plugin.MixUpOffHook', **ending.settings),
                    dict(type='tricks_plugin.MixUpWeightingHook'))

    def _transform(self) -> dict[str, Any]:
        params = self.params
        shape = {} if params.partner_shape == 'any' else {'partner_shape': params.partner_shape}
        return dict(type='tricks_plugin.GeometryPreservingMixUp', alpha=self._alpha,
                    prob=params.prob, partner=params.partner, cache_size=params.cache_size,
                    pad_value=params.pad_value, **shape, **{
                        name: list(getattr(params, name))
                        for name in ('per_box', 'images', 'ignore') if getattr(params, name)})


def _promise_of(cfg: dict[str, Any], node: dict[str, Any], pipelines: list[Pipeline],
                scope: str) -> dict[str, Any]:
    """What a config that mixes already is to show, by its own settings."""
    hook = next((hook for _, hook in find(cfg.get('custom_hooks'), 'MixUpOffHook', scope=scope)),
                {'off_fraction': 0.0})
    switch = replacing_hook(cfg, pipelines)
    return {'alpha': node.get('alpha', _ALPHA), 'prob': node.get('prob', 1.0),
            'off_fraction': hook.get('off_fraction', OFF_FRACTION),
            'off_epochs': hook.get('off_epochs'), **({'replaced': True} if switch else {})}


def _weighting_note(cfg: dict[str, Any], scope: str) -> str:
    """Two clauses at most: on the heads whose losses stay unweighted, and on those not seen."""
    names: dict[str, list[str]] = {'left': [], 'unseen': []}
    for _, node in config_edit.walk(cfg.get('model')):
        name = type_name(node)
        if not name.endswith(('Head', 'Protonet')) or name in names['left'] + names['unseen']:
            continue
        kind = config_edit.lookup_class(str(node['type']), scope)
        if not (isinstance(kind, type) and is_weighted(kind)):
            foreign = scope != 'mmdet' or '.' in str(node['type'])
            names['unseen' if kind is None and foreign else 'left'].append(name)
    left, unseen = (', '.join(found) for found in names.values())
    words = f'losses of {left} are not weighted per box' if left else ''
    return '; '.join(filter(None, (words, unseen and (
        f'whether losses of {unseen} are weighted per box is not known before the run, as it could '
        'not be looked into here'))))
