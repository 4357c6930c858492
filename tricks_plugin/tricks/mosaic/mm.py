"""The config edit that makes a detector's training samples mosaics of four images."""

from __future__ import annotations

from typing import Any

from ...mm import config_edit
from ...mm.canvas import BRANCHES, Canvas, chains, find_canvas, innermost
from ...mm.config_edit import Pipeline, append_hook, find, get, is_a, type_name, walk
from ...mm.ending import OFF_FRACTION, Ending
from ...mm.joining import one_image, replacing_hook
from ...plan import ConfigEdit, RunFacts, Verdict
from . import passes, too_small

__all__ = ['Edit']

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
        ending = Ending.of(cfg, self.params, _PATH)
        switch = replacing_hook(cfg, targets)
        words = [self._words(scales, ending), ending.replaced(switch, 'mosaics'),
                 _worker_note(cfg)]
        self._edit(cfg, targets, scales, ending)
        return Verdict.applied('; '.join(filter(None, words)), prob=self.params.prob,
                               **ending.settings, **({'replaced': True} if switch else {}))

    def pays(self, cfg: dict[str, Any], facts: RunFacts) -> str | None:
        """Not in a short run, nor in a small detector that has a strong augmentation already."""
        if facts.task != 'detection':
            return None
        if passes(facts) is None and (short := too_small(facts, _plain_passes(cfg, facts))):
            return short
        backbone = get(cfg, 'model.backbone')
        if not facts.augmentation or not isinstance(backbone, dict):
            return None
        name, width = type_name(backbone), backbone.get('widen_factor')
        if isinstance(width, (int, float)) and width <= _SMALL_WIDTH:
            name = f'{name} with a widen_factor of {width:g}'
        elif name not in _SMALL:
            return None
        return (f'a detector as small as {name} does not gain by a mosaic beside '
                f'{", ".join(facts.augmentation)}: with mixup it cost RTMDet-s 0.4 points of mAP '
                'against a jitter of scales and a crop')

    def _edit(self, cfg: dict[str, Any], targets: list[Pipeline],
              scales: list[tuple[int, int]], ending: Ending) -> None:
        params = self.params
        for pipeline, scale in zip(targets, scales, strict=True):
            place = _loaded(pipeline)
            pipeline.steps = [*pipeline.steps[:place], dict(
                type=f'tricks_plugin.{_OWN}', img_scale=scale, prob=params.prob,
                ratio_range=tuple(params.ratio_range),
                max_cached_images=params.max_cached_images), *pipeline.steps[place:]]
        append_hook(cfg, dict(type='tricks_plugin.MosaicOffHook', **ending.settings))

    def _words(self, scales: list[tuple[int, int]], ending: Ending) -> str:
        """What is made, and until when."""
        sizes = ' and '.join(dict.fromkeys(f'{width} x {height}' for width, height in scales))
        share = '' if self.params.prob == 1 else f' with a probability of {self.params.prob:g}'
        return f'windows of {sizes} px out of mosaics of four images{share}, {ending}'


def _plain_passes(cfg: dict[str, Any], facts: RunFacts) -> int | None:
    """The epochs, where each of them is one pass over the images beyond doubt."""
    loader, scope = get(cfg, 'train_dataloader'), config_edit.default_scope(cfg)
    sampler = type_name(get(loader, 'sampler') or 'DefaultSampler')
    if sampler != 'DefaultSampler' or get(loader, 'num_batch_per_epoch') is not None:
        return None
    for _, node in walk(get(cfg, _ROOT)):
        wraps = isinstance(node.get('dataset'), dict) or \
            isinstance(node.get('datasets'), (list, tuple))
        once = is_a(node, 'ConcatDataset', 'MultiImageMixDataset', scope=scope) or \
            is_a(node, 'RepeatDataset', scope=scope) and node.get('times') == 1
        if wraps and not once:
            return None
    return facts.epochs


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
    return {'prob': node.get('prob', 1.0), 'off_fraction': hook.get('off_fraction', OFF_FRACTION),
            'off_epochs': hook.get('off_epochs'),
            **({'replaced': True} if replacing_hook(cfg, pipelines) else {})}
