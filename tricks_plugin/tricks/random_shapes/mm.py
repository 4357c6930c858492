"""The config edit that gives each training batch one random shape."""

from __future__ import annotations

import math
from typing import Any

from ...mm import config_edit
from ...mm.classification import classifier, preprocessor
from ...mm.config_edit import append_hook, find, is_a, not_seen, type_name
from ...plan import ConfigEdit, Verdict
from ...plan.errors import TrickError
from . import MIN_SIZE, check_sizes, mmpretrain
from .fixed import fixed_backbone
from .functional import training_sizes
from .scales import Canvas, anchor_obstacle, chains, find_canvas, replace_resize

__all__ = ['Edit']

_PAPER = (320, 608)  # px, for a detector of 416 and for one of 608
_OLD = 'BatchSyncRandomResize'
_QUERY_BASED = ('DetectionTransformer', 'MaskFormer')


class Edit(ConfigEdit):
    """Puts `BatchRandomShapes` into the data preprocessor, and the hook that drives it."""

    def apply(self, cfg: dict[str, Any]) -> Verdict:
        """Edits the data preprocessor, the hooks and, where needed, the pipelines' resize."""
        model = cfg.get('model')
        scope = config_edit.default_scope(cfg)
        if not isinstance(model, dict):
            return Verdict.not_applicable('the config has no model')
        if classifier(cfg) is not None:
            return mmpretrain.edit(cfg, self.params)
        found = preprocessor(cfg)
        section, start = (found.node, found.path) if found else (model, 'model')
        for path, node in find(section, 'BatchRandomShapes', path=start, scope=scope):
            return Verdict.present(f'{path} is BatchRandomShapes', _promise_of(node))
        old = next(find(section, _OLD, path=start, scope=scope), None)
        if old and not self.params.replace:
            return Verdict.present(
                f'{old[0]} is {_OLD}, which rounds the aspect down and stops all ranks at each '
                'draw; random_shapes.replace=True would put this trick in its place')
        reason = self._obstacle(cfg, scope)
        if reason:
            return Verdict.not_applicable(reason)
        pipelines = config_edit.train_pipelines(cfg)
        if not pipelines:
            return Verdict.not_applicable(config_edit.no_pipeline(cfg))
        canvases = [find_canvas(chain) for chain in chains(cfg, pipelines, scope)]
        known = [canvas for canvas in canvases if canvas]
        if not known:
            return Verdict.not_applicable('no step of the training pipeline says at which scale '
                                          'it trains')
        shorts = sorted({canvas.short for canvas in known})
        if len(shorts) > 1 or len(known) < len(canvases):
            return Verdict.not_applicable(
                'the training pipelines do not all deliver one scale (short sides of '
                f'{", ".join(map(str, shorts))} px)')
        return self._edit(cfg, known, old[1] if old else None, scope)

    def _obstacle(self, cfg: dict[str, Any], scope: str) -> str:
        """Why the batches of this model cannot have random shapes, or an empty string."""
        model, found = cfg['model'], preprocessor(cfg)
        if found is None:
            return 'the model has no data_preprocessor, which would resize its batches' \
                f'{not_seen(model, scope)}'
        path, node = found.path, found.node
        if not is_a(node, 'DetDataPreprocessor', scope=scope):
            name, unseen = type_name(node), not_seen(node, scope)
            if not name:
                return f'{path} names no type, and {type_name(model)} is no detector of mmdet'
            return f'{path} is {name}; whether it has batch augments is not known{unseen}' \
                if unseen else \
                f'{path} is {name}, which is no DetDataPreprocessor with batch augments'
        if is_a(node, 'TrackDataPreprocessor', scope=scope):
            return f'{path} is {type_name(node)}, whose batches are clips of videos'
        augments = node.get('batch_augments')
        if augments is not None and not isinstance(augments, (list, tuple)):
            return f'{path}.batch_augments is no list'
        for where, _ in find(node, 'BatchResize', path=path, scope=scope):
            return f'{where} is BatchResize, which brings every batch to one size'
        if not self.params.two_stage:
            advice = 'random_shapes.two_stage=True would apply it'
            if 'roi_head' in model or is_a(model, 'TwoStageDetector', scope=scope):
                return f'two-stage detectors train at varying shapes already; {advice}'
            if is_a(model, *_QUERY_BASED, scope=scope):
                return (f'{type_name(model)} is query-based, and such detectors train at varying '
                        f'shapes already; {advice}')
        return anchor_obstacle(model)

    def _edit(self, cfg: dict[str, Any], canvases: list[Canvas], old: dict[str, Any] | None,
              scope: str) -> Verdict:
        found = preprocessor(cfg)
        pad = found.node.get('pad_size_divisor') if found else None
        divisor = math.lcm(self.params.divisor, pad if isinstance(pad, int) and pad > 0 else 1)
        own = canvases[0].short
        sizes = self._sizes(own, divisor, old, _editable(canvases))
        if len(sizes) < 2:
            return Verdict.not_applicable(
                f'the config trains at {own} px, which leaves fewer than two sizes of {MIN_SIZE} '
                f'px or more that are multiples of {divisor}')
        reason = fixed_backbone(cfg['model'], -(-own // divisor) * divisor, sizes[0], scope)
        if reason:
            return Verdict.not_applicable(reason)
        words = [f'{len(sizes)} sizes of {sizes[0]} to {sizes[-1]} px (short side), the largest '
                 'first']
        base = -(-own // divisor) * divisor
        if sizes[-1] > base:
            words.append(f'it has {(sizes[-1] / own) ** 2:.1f} times the pixels of the '
                         f"config's own {own}, and takes the memory for it")
        words += _raise_scale(canvases, sizes[-1] if sizes[-1] > base else own, scope)
        if _editable(canvases):
            base = max(base, sizes[-1])
        words += self._install(cfg, sizes, base, divisor, scope)
        return Verdict.applied('; '.join(words), sizes=sizes, divisor=divisor,
                               interval=self.params.interval, base=base)

    def _sizes(self, own: int, divisor: int, old: dict[str, Any] | None,
               editable: bool) -> list[int]:
        """The short sides to draw from, ascending."""
        params, path = self.params, 'tricks.random_shapes'
        if params.sizes is not None:
            why = '' if divisor == params.divisor else \
                " (the divisor and the config's pad_size_divisor)"
            check_sizes(params.sizes, divisor, path, why)
            return sorted(set(params.sizes))
        if params.ratio_range is not None:
            low, high = params.ratio_range
            sizes = training_sizes(own, (low, high), divisor)
            if low * own < MIN_SIZE or len(sizes) < 2:
                raise TrickError(
                    f'{path}.ratio_range must span two multiples of {divisor} of {MIN_SIZE} px or '
                    f'more, got {params.ratio_range!r} of {own} px')
            return sizes
        given = old.get('random_size_range') if old else None
        if isinstance(given, (list, tuple)) and len(given) == 2 and 0 < given[0] <= given[1]:
            low, high = given
        elif own == 416 and editable:
            low, high = _PAPER
        else:
            low, high = own * _PAPER[0] / _PAPER[1], own
        return training_sizes(own, (low / own, high / own), divisor)

    def _install(self, cfg: dict[str, Any], sizes: list[int], base: int, divisor: int,
                 scope: str) -> list[str]:
        """Adds the batch augment and its hook; returns what else was changed."""
        found = preprocessor(cfg)
        node = found.node if found else cfg['model']['data_preprocessor']
        kept = [item for item in node.get('batch_augments') or []
                if not is_a(item, _OLD, scope=scope)]
        node['batch_augments'] = [*kept, dict(
            type='tricks_plugin.BatchRandomShapes', base=base, sizes=sizes, divisor=divisor,
            interval=self.params.interval, **{
                name: list(getattr(self.params, name)) for name in ('points', 'lengths', 'ignore')
                if getattr(self.params, name)})]
        append_hook(cfg, dict(type='tricks_plugin.BatchRandomShapesHook'))
        env = cfg.get('env_cfg')
        if isinstance(env, dict) and env.get('cudnn_benchmark'):
            env['cudnn_benchmark'] = False
            return ['cudnn_benchmark is off, as it would search anew for every shape']
        return []


def _promise_of(node: dict[str, Any]) -> dict[str, Any] | None:
    """What a config that has random shapes already is to show, by its own settings."""
    divisor = node.get('divisor', 32)
    try:
        base = int(node['base'])
        sizes = node.get('sizes') or training_sizes(base, node['ratio_range'], divisor)
    except (KeyError, TypeError, ValueError):
        return None  # the run itself will say what is wrong
    return {'sizes': sorted(set(sizes)), 'divisor': divisor,
            'interval': node.get('interval', 10), 'base': base}


def _editable(canvases: list[Canvas]) -> bool:
    """Whether resize steps alone decide about the scale, everywhere."""
    return all(canvas.step is not None for canvas in canvases)


def _raise_scale(canvases: list[Canvas], short: int, scope: str) -> list[str]:
    """Has the pipelines deliver their largest scale, or a larger one; says what was changed.

    Args:
        canvases: Of equal short sides.
        short: The short side wanted, in px; not below the present one.
        scope: The registry scope of unscoped names.
    """
    words = []
    raised = short > canvases[0].short
    if raised and _editable(canvases):
        words.append("the pipeline's resize is raised to it")
    elif raised:
        reason = next(canvas.reason for canvas in canvases if canvas.step is None)
        words.append(f'batches are enlarged by interpolation, as {reason} decides about the '
                     "pipeline's scale")
    if any(canvas.varies for canvas in canvases):
        words.append('the random resize of each image gives way to its largest scale')
    factor = short / canvases[0].short if _editable(canvases) else 1.0
    for canvas in canvases:
        if canvas.varies or (canvas.step is not None and factor > 1.0):
            width, height = canvas.size
            replace_resize(canvas, (round(width * factor), round(height * factor)), scope)
    return words
