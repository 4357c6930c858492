"""The config edit that makes a detector's training samples mosaics of four images."""

from __future__ import annotations

from typing import Any

from ...common.phases import phases
from ...mm import config_edit
from ...mm.canvas import BRANCHES, Canvas, chains, find_canvas, innermost
from ...mm.config_edit import Pipeline, append_hook, find, get, is_a, type_name
from ...mm.joining import one_image, replacing_hook
from ...plan import ConfigEdit, RunFacts, Verdict
from ...plan.errors import TrickError

__all__ = ['Edit']

_OFF_FRACTION = 0.1
_PATH = 'tricks.mosaic'
_ROOT = 'train_dataloader.dataset'
_OWN = 'MosaicToScale'
_MOSAICS = ('Mosaic', 'CachedMosaic', 'Mosaic9')
_LOADED = {
    'with_mask': "masks, and mmdet's CachedMosaic lays them on a canvas whose sides are swapped, "
                 'and rounds the size of bitmaps otherwise than that of the image',
    'with_seg': 'a semantic map, which a mosaic does not join',
    'with_keypoints': 'keypoints, which a mosaic does not join',
}
_SMALL_WIDTH = 0.5  # RTMDet-s's widen_factor
_SMALL = ('MobileNetV2',)  # below RTMDet-s's 8.9 million parameters


class Edit(ConfigEdit):
    """Puts `MosaicToScale` behind the loading, and the hook that ends it."""

    def apply(self, cfg: dict[str, Any]) -> Verdict:
        """Edits the pipelines that load; see the README for what is left alone."""
        dataset, scope = get(cfg, _ROOT), config_edit.default_scope(cfg)
        pipelines = config_edit.train_pipelines(cfg)
        if not pipelines:
            return Verdict.not_applicable(config_edit.no_pipeline(cfg))
        for path, node in find(dataset, _OWN, scope=scope, path=_ROOT):
            return Verdict.present(f'{path} is {_OWN}', _promise_of(cfg, node, pipelines, scope))
        for path, node in find(dataset, *_MOSAICS, scope=scope, path=_ROOT):
            return Verdict.present(f'{path} is {type_name(node)}')
        if scope != 'mmdet':
            return Verdict.not_applicable(f'default_scope is {scope!r}, and this trick knows the '
                                          'pipelines of mmdet alone')
        targets = innermost(pipelines)
        if reason := one_image(cfg) or _obstacle(cfg, targets, scope):
            return Verdict.not_applicable(reason)
        scales = [_scale(canvas) for way in chains(cfg, pipelines, scope)[:len(targets)]
                  if (canvas := find_canvas(way))]
        if len(scales) < len(targets):
            return Verdict.not_applicable('no step of the training pipeline says at which scale '
                                          'it trains')
        words = [self._words(scales, self._check_length(cfg)), self._switch_note(cfg, targets),
                 _worker_note(cfg)]
        replaced = {'replaced': True} if replacing_hook(cfg, targets) else {}
        self._edit(cfg, targets, scales)
        return Verdict.applied(
            '; '.join(filter(None, words)), prob=self.params.prob,
            off_fraction=self._off_fraction, off_epochs=self.params.off_epochs, **replaced)

    def pays(self, cfg: dict[str, Any], facts: RunFacts) -> str | None:
        """Not in a small detector that has a strong augmentation already."""
        backbone = get(cfg, 'model.backbone')
        if facts.task != 'detection' or not facts.augmentation or not isinstance(backbone, dict):
            return None
        name, width = type_name(backbone), backbone.get('widen_factor')
        if isinstance(width, (int, float)) and width <= _SMALL_WIDTH:
            name = f'{name} with a widen_factor of {width:g}'
        elif name not in _SMALL:
            return None
        return (f'a detector as small as {name} does not gain by a mosaic beside '
                f'{", ".join(facts.augmentation)}: with mixup it cost RTMDet-s 0.4 points of mAP '
                'against a jitter of scales and a crop')

    @property
    def _off_fraction(self) -> float:
        return _OFF_FRACTION if self.params.off_fraction is None else self.params.off_fraction

    def _check_length(self, cfg: dict[str, Any]) -> config_edit.RunLength | None:
        """The run's length; an end as long as it, or longer, is refused."""
        length, wanted = config_edit.run_length(cfg), self.params.off_epochs
        if wanted is not None and length is not None and length.by_epoch and \
                wanted >= length.value:
            raise TrickError(f'{_PATH}.off_epochs must be below the {length.value} epochs of the '
                             f'run, got {wanted}')
        return length

    def _edit(self, cfg: dict[str, Any], targets: list[Pipeline],
              scales: list[tuple[int, int]]) -> None:
        params = self.params
        for pipeline, scale in zip(targets, scales, strict=True):
            place = _loaded(pipeline)
            pipeline.steps = [*pipeline.steps[:place], dict(
                type=f'tricks_plugin.{_OWN}', img_scale=scale, prob=params.prob,
                ratio_range=tuple(params.ratio_range),
                max_cached_images=params.max_cached_images), *pipeline.steps[place:]]
        append_hook(cfg, dict(type='tricks_plugin.MosaicOffHook', off_fraction=self._off_fraction,
                              off_epochs=params.off_epochs))
        record = cfg.setdefault('tricks_applied', {})
        record['mosaic'] = dict(off_fraction=self._off_fraction)

    def _words(self, scales: list[tuple[int, int]],
               length: config_edit.RunLength | None) -> str:
        """What is made, and until when."""
        sizes = ' and '.join(dict.fromkeys(f'{width} x {height}' for width, height in scales))
        share = '' if self.params.prob == 1 else f' with a probability of {self.params.prob:g}'
        what = f'windows of {sizes} px out of mosaics of four images{share}'
        if length is not None and (length.by_epoch or self.params.off_epochs is None):
            times = phases(length.by_epoch, length.value, self._off_fraction,
                           self.params.off_epochs)
            return f'{what}, {times} of {times.total}, counted from 0' if times.ends else \
                f'{what}, {times}'
        return f'{what}, off for the last {self.params.off_epochs} epochs' \
            if self.params.off_epochs is not None else \
            f'{what}, off for the last {self._off_fraction:g} of the training'

    def _switch_note(self, cfg: dict[str, Any], targets: list[Pipeline]) -> str:
        """Says that another hook ends the mosaics first, if one does."""
        switch, length = replacing_hook(cfg, targets), config_edit.run_length(cfg)
        if switch is None or length is None:
            return ''
        own = phases(True, length.value, self._off_fraction, self.params.off_epochs)
        return '' if switch[1] >= own.off_from else (
            f'off from epoch {switch[1]}, counted from 0, as {switch[0]} puts a pipeline without '
            'mosaics in place')


def _obstacle(cfg: dict[str, Any], targets: list[Pipeline], scope: str) -> str:
    """Why the samples of these pipelines cannot become mosaics, or an empty string."""
    for path, node in find(get(cfg, _ROOT), 'MultiImageMixDataset', scope=scope, path=_ROOT):
        steps = [type_name(step) for step in node.get('pipeline') or () if isinstance(step, dict)]
        return (f'{path} is {type_name(node)}, which joins several images by steps of its own '
                f'({", ".join(steps)}) and is left as it is')
    for pipeline in targets:
        loads = [step for step in pipeline.steps
                 if isinstance(step, dict) and is_a(step, 'LoadAnnotations', scope=scope)]
        if not loads:
            names = [type_name(step) for step in pipeline.steps if isinstance(step, dict)]
            return (f'{pipeline.path} has no step that loads boxes '
                    f'({", ".join(filter(None, names)) or "no steps"})')
        for where, _ in find(pipeline.steps, 'LoadProposals', path=pipeline.path, scope=scope):
            return f'{where} is LoadProposals: stored proposals belong to one image'
        for where, node in find(pipeline.steps, 'LoadAnnotations', path=pipeline.path,
                                scope=scope):
            for setting, words in _LOADED.items():
                if node.get(setting):
                    return f'{where} loads {words}'
            if node.get('with_bbox') is False:
                return f'{where} loads no boxes'
            if node.get('box_type') not in (None, 'hbox'):
                return (f'{where} loads boxes of type {node["box_type"]!r}, and the window of a '
                        'mosaic cuts upright boxes alone')
    return ''


def _scale(canvas: Canvas) -> tuple[int, int]:
    """The (w, h) of one image: lying, where a resize that keeps the ratio takes either order."""
    width, height = canvas.size
    fixed = canvas.reason not in BRANCHES if canvas.step is None else \
        not canvas.step.get('keep_ratio')
    return (width, height) if fixed else (max(width, height), min(width, height))


def _loaded(pipeline: Pipeline) -> int:
    """The place behind the last step that loads."""
    return 1 + max(index for index, step in enumerate(pipeline.steps)
                   if isinstance(step, dict) and type_name(step).startswith('Load'))


def _worker_note(cfg: dict[str, Any]) -> str:
    """Says that caches begin empty in every epoch, where workers do not persist."""
    loader = cfg['train_dataloader']
    if not loader.get('num_workers') or loader.get('persistent_workers'):
        return ''
    return ('train_dataloader.persistent_workers is off: each worker begins every epoch with an '
            'empty cache, and its first four samples are no mosaics')


def _promise_of(cfg: dict[str, Any], node: dict[str, Any], pipelines: list[Pipeline],
                scope: str) -> dict[str, Any]:
    """What a config that makes mosaics by this trick already is to show."""
    hook = next((hook for _, hook in find(cfg.get('custom_hooks'), 'MosaicOffHook', scope=scope)),
                {'off_fraction': 0.0})
    return {'prob': node.get('prob', 1.0), 'off_fraction': hook.get('off_fraction', _OFF_FRACTION),
            'off_epochs': hook.get('off_epochs'),
            **({'replaced': True} if replacing_hook(cfg, pipelines) else {})}
