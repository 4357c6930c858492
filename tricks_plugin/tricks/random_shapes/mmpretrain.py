"""Square sizes for the batches of mmpretrain's classifiers."""

from __future__ import annotations

from typing import Any

import torch

from ...mm.classification import CLASSIFIERS, preprocessor, switching_hook
from ...mm.config_edit import (
    append_hook,
    default_scope,
    find,
    get,
    is_a,
    lookup_class,
    no_pipeline,
    not_seen,
    train_pipelines,
    type_name,
)
from ...mm.ending import Ending
from ...mm.meta import built_on_meta
from ...mm.run_facts import tested_short
from ...plan import Verdict
from ...plan.errors import TrickError
from . import MIN_SIZE
from .fixed import runs
from .functional import training_sizes
from .scales import has_tail, home_words

__all__ = ['edit', 'stranger']

_HOOK = 'ClassifierShapesHook'
_PATH = 'tricks.random_shapes'
_RANGE = (5 / 7, 1.0)  # 160 to 224 px, as in timm: below, the last map has fewer than 5 x 5 cells
# Transforms that decide about the size of an image, and the setting that names it.
_SIZED = {'RandomResizedCrop': ('scale', 'size'), 'EfficientNetRandomCrop': ('scale',),
          'RandomCrop': ('crop_size', 'size'), 'CenterCrop': ('crop_size', 'size'),
          'EfficientNetCenterCrop': ('crop_size',), 'Resize': ('scale', 'size'),
          'ResizeEdge': ()}


def edit(cfg: dict[str, Any], params: Any) -> Verdict:
    """Edits the config of a classifier; see `Trick.apply`.

    Args:
        cfg: A plain config whose model is a classifier.
        params: `RandomShapesParams`.

    Raises:
        TrickError: If ``ratio_range`` leaves fewer than two sizes, or the tail is as long as the
            run.
    """
    scope = default_scope(cfg)
    for path, node in find(cfg.get('custom_hooks'), _HOOK, path='custom_hooks', scope=scope):
        return Verdict.present(f'{path} is {_HOOK}', _promise(node))
    own = _obstacle(cfg, scope)
    if isinstance(own, str):
        return Verdict.not_applicable(own)
    sizes = _sizes(own, params)
    if len(sizes) < 2:
        return Verdict.not_applicable(
            f'the config trains at {own} px, which leaves fewer than two sizes of {MIN_SIZE} px or '
            f'more that are multiples of {params.divisor}')
    reason = _refused(cfg['model'], own, sizes, scope)
    if reason:
        return Verdict.not_applicable(reason)
    ending = Ending.of(cfg, params, _PATH)
    home, what = _home(cfg, own, params.divisor)
    node = dict(type=f'tricks_plugin.{_HOOK}', base=own, sizes=sizes, divisor=params.divisor,
                interval=params.interval, home=home, share=params.test_share, **ending.settings)
    append_hook(cfg, node)
    first = 'the largest' if home <= sizes[-1] or not has_tail(ending) else \
        f'the {home} px of the tail'
    words = [f'{len(sizes)} sizes of {sizes[0]} to {sizes[-1]} px (squares), {first} first',
             home_words(params.test_share, home, sizes, what, ending)]
    if sizes[-1] > own:
        words.append(f"batches are enlarged by interpolation from the config's own {own} px")
    env = cfg.get('env_cfg')
    if isinstance(env, dict) and env.get('cudnn_benchmark'):
        env['cudnn_benchmark'] = False
        words.append('cudnn_benchmark is off, as it would search anew for every shape')
    if unseen := not_seen(get(cfg, 'model.backbone') or cfg['model'], scope):
        words.append(f'whether the model takes them shows in the run{unseen}')
    return Verdict('applied', '; '.join(words), _promise(node))


def stranger(cfg: dict[str, Any]) -> str:
    """Why a model of mmpretrain that is no classifier known here is left; empty for any other.

    Args:
        cfg: A plain config whose model has a type and is no classifier.
    """
    kind, scope = cfg['model'].get('type'), default_scope(cfg)
    found = lookup_class(kind, scope) if isinstance(kind, str) else kind
    homes = [str(kind) if '.' in str(kind) else scope, getattr(found, '__module__', '')]
    if 'mmpretrain' not in (home.partition('.')[0] for home in homes):
        return ''
    name, unseen = type_name(kind), not_seen(kind, scope)
    if unseen:
        return f'whether {name} is a classifier of mmpretrain is not known{unseen}'
    return (f'{name} is no classifier of mmpretrain ({", ".join(CLASSIFIERS)}); of that library '
            'this trick resizes their batches alone')


def _promise(node: dict[str, Any]) -> dict[str, Any]:
    return {'sizes': sorted(set(node.get('sizes') or ())), 'divisor': node.get('divisor', 32),
            'interval': node.get('interval', 10), 'square': True, 'inside': True,
            'home': node.get('home'), 'share': node.get('share', 0.5),
            'off_fraction': node.get('off_fraction', 0.0), 'off_epochs': node.get('off_epochs')}


def _home(cfg: dict[str, Any], own: int, divisor: int) -> tuple[int, str]:
    """The side that is drawn more often and ends the training, and what it is, in words.

    It is the one at which the config tests, unless that is above its own: such a config means to
    train at less, and enlarging what it delivers would not show the model what a test shows.
    """
    tested = tested_short(cfg)
    side = min(own, tested or own)
    home = max(side // divisor, 1) * divisor  # rounded down, so that nothing is enlarged
    less = '' if home == side else f' ({side} px, down to a multiple of {divisor})'
    if tested is None:
        return home, (f"at the training's own {home} px{less}, as no step of val_dataloader says "
                      'at which it tests')
    if tested > own:
        return home, (f"at the training's own {home} px{less}, as nothing is enlarged to the "
                      f'{tested} px of the test')
    return home, f'at the test scale of {home} px{less}'


def _sizes(own: int, params: Any) -> list[int]:
    if params.sizes is not None:
        return sorted(set(params.sizes))
    sizes = training_sizes(own, params.ratio_range or _RANGE, params.divisor)
    if params.ratio_range is not None and len(sizes) < 2:
        raise TrickError(
            f'{_PATH}.ratio_range must span two multiples of {params.divisor} of '
            f'{MIN_SIZE} px or more, got {params.ratio_range!r} of {own} px')
    return sizes


def _obstacle(cfg: dict[str, Any], scope: str) -> str | int:
    """The side at which a classifier trains, in px, or why its batches can have no random sizes."""
    found = preprocessor(cfg)
    if found is not None and found.node.get('type') and \
            not is_a(found.node, 'ClsDataPreprocessor', scope=scope):
        unseen, what = not_seen(found.node, scope), f'{found.path} is {type_name(found.node)}'
        return f'{what}; whether it is a ClsDataPreprocessor is not known{unseen}' if unseen else \
            f'{what}, which is no ClsDataPreprocessor, whose batches would be resized'
    pipelines = train_pipelines(cfg)
    if not pipelines:
        return no_pipeline(cfg)
    switch = switching_hook(cfg, 'train_pipeline')
    if switch is not None:
        return (f'{switch[0]} is SwitchRecipeHook, which puts pipelines of its own in, with their '
                'sizes')
    sizes = [_side(pipeline.steps) for pipeline in pipelines]
    if None in sizes:
        return 'no step of the training pipeline says at which size it trains'
    if len(set(sizes)) > 1:
        return f'the training pipelines deliver several sizes ({", ".join(map(str, sizes))})'
    width, height = sizes[0]  # type: ignore[misc]
    return width if width == height else \
        f'the config trains at {width} x {height} px, and the sizes drawn are squares'


def _side(steps: list[Any]) -> tuple[int, int] | None:
    """The (width, height) after the last step that decides about it; None if it varies."""
    for step in reversed(steps):
        name = type_name(step).rsplit('/', 1)[-1] if isinstance(step, dict) else ''
        if name in _SIZED:
            values = [step[key] for key in _SIZED[name] if key in step]
            value = values[0] if values else None
            pair = (value, value) if isinstance(value, int) else value
            if not isinstance(pair, (list, tuple)) or len(pair) != 2 or name == 'Resize' and \
                    (step.get('keep_ratio') or isinstance(value, int) and '/' in type_name(step)):
                return None
            return (pair[0], pair[1]) if all(isinstance(one, int) and one > 0
                                             for one in pair) else None
    return None


def _refused(model: dict[str, Any], own: int, sizes: list[int], scope: str) -> str:
    """Why a model takes images of its own size and not of the smallest, or an empty string."""
    node, path = model.get('backbone'), 'model.backbone'
    parts = [built_on_meta(model[key], scope) for key in ('backbone', 'neck', 'head')
             if model.get(key) is not None]
    if node is None and is_a(model, 'HuggingFaceClassifier', scope=scope):
        return ('model is HuggingFaceClassifier, whose config is fetched from the network: whether '
                'it takes other sizes was not looked into')
    if node is None and is_a(model, 'TimmClassifier', scope=scope):
        node, path, parts = model, 'model', [built_on_meta(model, scope)]
    if node is None or not parts or parts[0] is None:
        return ''
    known = parts[:parts.index(None)] if None in parts else parts

    def forward(images: torch.Tensor) -> Any:
        for part in known:
            images = part(images)  # type: ignore[misc]
        return images

    channels = node.get('in_channels', 3)
    takes = []
    for size in (own, sizes[0]):
        with torch.device('meta'), torch.no_grad():
            takes.append(runs(forward, torch.zeros(1, channels, size, size)) == '')
    if takes != [True, False]:
        return ''
    return (f'{path} is {type_name(node)}, and the model takes images of {own} px and not of '
            f'{sizes[0]}')
