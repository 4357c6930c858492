"""The config edit that gives each training batch one random shape."""

from __future__ import annotations

import math
from typing import Any

from ...mm import config_edit
from ...mm.canvas import Canvas, chains, find_canvas, tested_canvas
from ...mm.classification import classifier, preprocessor
from ...mm.config_edit import append_hook, find, is_a, not_seen, type_name
from ...mm.ending import Ending
from ...plan import ConfigEdit, Verdict
from ...plan.errors import TrickError
from . import MIN_SIZE, check_sizes, mmpretrain
from .fixed import fixed_backbone
from .functional import training_sizes
from .scales import (
    anchor_obstacle,
    has_tail,
    home_words,
    replace_resize,
    standing_in,
    unlike,
)

__all__ = ['Edit']

_PAPER, _PAPERS = (320, 608), (416, 608)  # px; for detectors of these sizes
_AROUND = (0.75, 1.25)  # shares of the test scale, for others
_PATH = 'tricks.random_shapes'
_OLD = 'BatchSyncRandomResize'
_PADS = ('pad_value', 'mask_pad_value', 'seg_pad_value')  # of the data preprocessor
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
            return Verdict.present(f'{path} is BatchRandomShapes', _promise_of(cfg, node, scope))
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
        side = 'long' if all(canvas.fits for canvas in known) else 'short'
        sides = sorted({canvas.along(side) for canvas in known})
        if len(sides) > 1 or len(known) < len(canvases):
            return Verdict.not_applicable(
                f'the training pipelines do not all deliver one scale ({side} sides of '
                f'{", ".join(map(str, sides))} px)')
        return self._edit(cfg, known, old[1] if old else None, scope)

    def _obstacle(self, cfg: dict[str, Any], scope: str) -> str:
        """Why the batches of this model cannot have random shapes, or an empty string."""
        model, found = cfg['model'], preprocessor(cfg)
        if strange := mmpretrain.stranger(cfg):
            return strange
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
                return f'the paper has it for single-stage detectors, this has two; {advice}'
            if is_a(model, *_QUERY_BASED, scope=scope):
                return (f'the paper has it for single-stage detectors, {type_name(model)} is '
                        f'query-based; {advice}')
        return anchor_obstacle(model)

    def _edit(self, cfg: dict[str, Any], canvases: list[Canvas], old: dict[str, Any] | None,
              scope: str) -> Verdict:
        found = preprocessor(cfg)
        pad = found.node.get('pad_size_divisor') if found else None
        divisor = math.lcm(self.params.divisor, pad if isinstance(pad, int) and pad > 0 else 1)
        side = 'long' if all(canvas.fits for canvas in canvases) else 'short'
        own = canvases[0].along(side)
        tested = tested_canvas(cfg)
        strange = unlike(canvases, tested) if tested is not None else ''
        if strange and not (self.params.sizes or self.params.ratio_range or old):
            return Verdict.not_applicable(
                f"{strange}; random_shapes.sizes, or .ratio_range as shares of the training's "
                f'{own} px, would apply it')
        home = own if tested is None or strange else tested.along(side)
        sizes = self._sizes(home, divisor, old, _editable(canvases) or own >= _PAPER[1])
        if len(sizes) < 2:
            return Verdict.not_applicable(
                f'the config {"trains" if strange or tested is None else "tests"} at {home} px, '
                f'around which there are fewer than two sizes of {MIN_SIZE} px or more that are '
                f'multiples of {divisor}')
        sizes = standing_in(sizes, home, divisor, below=self.params.sizes is None)
        ending = Ending.of(cfg, self.params, _PATH)
        top = max(sizes[-1], home) if has_tail(ending) else sizes[-1]
        raised = top > own and _editable(canvases)
        if not raised:  # else no image arrives at it any more
            sizes = standing_in(sizes, own, divisor)
            top = max(sizes[-1], home) if has_tail(ending) else sizes[-1]
        whole, least = (-(-size // divisor) * divisor for size in (own, sizes[0]))
        reason = fixed_backbone(cfg['model'], whole, least, scope)
        if reason:
            return Verdict.not_applicable(reason)
        words = [_sizes_words(sizes, side, own, top)]
        words += _raise_scale(canvases, max(top, own), side, scope, None if strange else tested)
        what = f'at the test scale of {home} px' if tested is not None and not strange else \
            f"at the training's own {home} px, as " + (
                strange or 'no step of val_dataloader says at which it tests')
        words.append(home_words(self.params.test_share, home, sizes, what, ending))
        rule = dict(sizes=sizes, divisor=divisor, interval=self.params.interval,
                    base=top if raised else own, home=home,
                    share=self.params.test_share, side=side)
        words += self._install(cfg, rule, scope, ending)
        return Verdict.applied('; '.join(words), **ending.settings, **rule)

    def _sizes(self, home: int, divisor: int, old: dict[str, Any] | None,
               paper: bool) -> list[int]:
        """The sizes to draw from, ascending.

        Args:
            home: The test scale, in px.
            divisor: What sizes are multiples of.
            old: A BatchSyncRandomResize that gives way.
            paper: Whether the pipeline delivers the paper's sizes, or can.
        """
        params = self.params
        if params.sizes is not None:
            why = '' if divisor == params.divisor else \
                " (the divisor and the config's pad_size_divisor)"
            check_sizes(params.sizes, divisor, _PATH, why)
            return sorted(set(params.sizes))
        if params.ratio_range is not None:
            low, high = params.ratio_range
            sizes = training_sizes(home, (low, high), divisor)
            if low * home < MIN_SIZE or len(sizes) < 2:
                raise TrickError(
                    f'{_PATH}.ratio_range must span two multiples of {divisor} of {MIN_SIZE} px or '
                    f'more, got {params.ratio_range!r} of {home} px')
            return sizes
        given = old.get('random_size_range') if old else None
        if isinstance(given, (list, tuple)) and len(given) == 2 and 0 < given[0] <= given[1]:
            low, high = given
        elif home in _PAPERS and paper:
            low, high = _PAPER
        else:
            low, high = _AROUND[0] * home, _AROUND[1] * home
        return training_sizes(home, (low / home, high / home), divisor)

    def _install(self, cfg: dict[str, Any], rule: dict[str, Any], scope: str,
                 ending: Ending) -> list[str]:
        """Adds the batch augment and its hook; returns what else was changed."""
        found = preprocessor(cfg)
        node = found.node if found else cfg['model']['data_preprocessor']
        kept = [item for item in node.get('batch_augments') or []
                if not is_a(item, _OLD, scope=scope)]
        node['batch_augments'] = [*kept, dict(
            type='tricks_plugin.BatchRandomShapes', **rule, **{
                name: list(getattr(self.params, name)) for name in ('points', 'lengths', 'ignore')
                if getattr(self.params, name)}, **{
                name: node[name] for name in _PADS if node.get(name) is not None})]
        append_hook(cfg, dict(type='tricks_plugin.BatchRandomShapesHook', **ending.settings))
        env = cfg.get('env_cfg')
        if isinstance(env, dict) and env.get('cudnn_benchmark'):
            env['cudnn_benchmark'] = False
            return ['cudnn_benchmark is off, as it would search anew for every shape']
        return []


def _promise_of(cfg: dict[str, Any], node: dict[str, Any], scope: str) -> dict[str, Any] | None:
    """What a config that has random shapes already is to show, by its own settings."""
    divisor = node.get('divisor', 32)
    try:
        base = int(node['base'])
        sizes = node.get('sizes') or training_sizes(base, node['ratio_range'], divisor)
    except (KeyError, TypeError, ValueError):
        return None  # the run itself will say what is wrong
    hook = next((hook for _, hook in find(cfg.get('custom_hooks'), 'BatchRandomShapesHook',
                                          scope=scope)), {})
    return {'off_fraction': hook.get('off_fraction', 0.0), 'off_epochs': hook.get('off_epochs'),
            'sizes': sorted(set(sizes)), 'divisor': divisor,
            'interval': node.get('interval', 10), 'base': base, 'home': node.get('home'),
            'share': node.get('share', 0.5), 'side': node.get('side', 'short')}


def _sizes_words(sizes: list[int], side: str, own: int, top: int) -> str:
    """Which sizes there are, and what the largest takes.

    Args:
        sizes: Ascending, in px.
        side: Which side they are.
        own: That side of the pipeline's own scale.
        top: The largest of all, the tail's among them.
    """
    fit = ', as each image is fitted into a square' if side == 'long' else ''
    first = 'the largest' if top == sizes[-1] else f'the {top} px of the tail'
    words = f'{len(sizes)} sizes of {sizes[0]} to {sizes[-1]} px ({side} side{fit}), {first} first'
    if top <= own:
        return words
    return (f'{words}; it has {(top / own) ** 2:.1f} times the pixels of the '
            f"config's own {own}, and takes the memory for it")


def _editable(canvases: list[Canvas]) -> bool:
    """Whether resize steps alone decide about the scale, everywhere."""
    return all(canvas.step is not None for canvas in canvases)


def _raise_scale(canvases: list[Canvas], length: int, side: str, scope: str,
                 tested: Canvas | None) -> list[str]:
    """Has the pipelines deliver their largest scale, or a larger one; says what was changed.

    Args:
        canvases: Of equal sides of that kind.
        length: The side wanted, in px; not below the present one.
        side: Which side.
        scope: The registry scope of unscoped names.
        tested: The test's scale: where the aspect is kept, the new one has its bound of the other
            side, in proportion.
    """
    words = []
    own = canvases[0].along(side)
    raised = length > own
    if raised and _editable(canvases):
        words.append("the pipeline's resize is raised to it")
    elif raised:
        reason = next(canvas.reason for canvas in canvases if canvas.step is None)
        words.append(f'batches are enlarged by interpolation, as {reason} decides about the '
                     "pipeline's scale")
    if any(canvas.varies for canvas in canvases):
        words.append('the random resize of each image gives way to its largest scale')
    length = length if _editable(canvases) else own
    for canvas in canvases:
        if canvas.varies or (canvas.step is not None and length > own):
            like = tested if tested is not None and canvas.step is not None and \
                canvas.step.get('keep_ratio') and len(set(tested.size)) > 1 else canvas
            width, height = (round(one * length / like.along(side)) for one in like.size)
            replace_resize(canvas, (width, height), scope)
    return words
