"""The config's own hooks that end its augmentation, and whether they reach it."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

from ...mm.config_edit import Pipeline, default_scope, find, get, is_a, run_length, type_name

__all__ = ['Switcher', 'switcher']

_MULTI = 'MultiImageMixDataset'
_MIXES = ('Mosaic', 'Mosaic9', 'MixUp', 'CachedMixUp', 'YOLOXMixUp', 'YOLOv5MixUp', 'CopyPaste',
          'YOLOv5CopyPaste')


@dataclasses.dataclass(frozen=True)
class Switcher:
    """A hook of the config that is to end its augmentation.

    Attributes:
        reaches: Whether it does so in this run.
        words: What it does, or why it does not.
    """

    reaches: bool
    words: str


def switcher(cfg: dict[str, Any], pipelines: list[Pipeline], names: Collection[str],
             ) -> Switcher | None:
    """The first hook that ends the augmentation; one that is to and does not; or None.

    Args:
        cfg: The config.
        pipelines: Of its training dataset.
        names: Class names of the steps that are to end.
    """
    scope, found = default_scope(cfg), []
    for path, hook in find(cfg.get('custom_hooks'), 'PipelineSwitchHook', path='custom_hooks',
                           scope=scope):
        found.append(_pipeline_switch(cfg, path, hook, scope))
    for path, hook in find(cfg.get('custom_hooks'), 'YOLOXModeSwitchHook', path='custom_hooks',
                           scope=scope):
        found.append(_mode_switch(cfg, path, hook, pipelines, names, scope))
    return next((one for one in found if one.reaches), found[0] if found else None)


def _pipeline_switch(cfg: dict[str, Any], path: str, hook: dict[str, Any],
                     scope: str) -> Switcher:
    """Mmdet's PipelineSwitchHook: it sets ``pipeline`` on the outermost dataset."""
    name = f'{path} ({type_name(hook)})'
    dataset = get(cfg, 'train_dataloader.dataset') or {}
    length = run_length(cfg)
    epoch, steps = hook.get('switch_epoch'), hook.get('switch_pipeline')
    if length is not None and not length.by_epoch:
        return Switcher(False, f'{name} is asked once in an iteration-based training, before the '
                        'first iteration, and does not switch')
    if not isinstance(dataset.get('pipeline'), list):
        return Switcher(False, f'{name} sets the pipeline of {type_name(dataset)}, which has none '
                        'of its own, and changes nothing')
    if not isinstance(epoch, int) or not isinstance(steps, list):
        return Switcher(False, f'{name} names no epoch and pipeline')
    if is_a(dataset, _MULTI, scope=scope) and len(steps) > len(dataset['pipeline']):
        return Switcher(False, f'{name} puts {len(steps)} steps in the place of '
                        f'{len(dataset["pipeline"])}, and {_MULTI} drops those beyond')
    if length is not None and epoch >= length.value:
        return Switcher(False, f'{name} is due at epoch {epoch} of {length.value}, after the end')
    mixing = [type_name(step) for step in steps if isinstance(step, dict)
              and is_a(step, *_MIXES, scope=scope)]
    if mixing:
        return Switcher(False, f'{name} puts in a pipeline that still has {", ".join(mixing)}')
    return Switcher(True, f'{name} puts another pipeline in place from epoch {epoch}'
                    + ('' if length is None else f' of {length.value}') + ', counted from 0')


def _mode_switch(cfg: dict[str, Any], path: str, hook: dict[str, Any], pipelines: list[Pipeline],
                 names: Collection[str], scope: str) -> Switcher:
    """Mmdet's YOLOXModeSwitchHook: it has a MultiImageMixDataset skip steps by their types."""
    name = f'{path} ({type_name(hook)})'
    dataset = get(cfg, 'train_dataloader.dataset') or {}
    if not is_a(dataset, _MULTI, scope=scope):
        return Switcher(False, f'{name} asks {type_name(dataset)} for update_skip_type_keys, which '
                        f'only {_MULTI} has: it will end the run with an AttributeError when it '
                        'is due')
    last = hook.get('num_last_epochs', 15)
    types = hook.get('skip_type_keys', ('Mosaic', 'RandomAffine', 'MixUp'))
    own = [step for pipeline in pipelines if pipeline.owner is dataset for step in pipeline.steps
           if isinstance(step, dict)]
    skips = [type_name(step) for step in own if step.get('type') in types]
    mixes = [str(step.get('type')) for step in own if step.get('type') not in types
             and is_a(step, *_MIXES, scope=scope) and is_a(step, *names, scope=scope)]
    if not skips or mixes:
        strong = mixes or [str(step.get('type')) for step in own if is_a(step, *names, scope=scope)]
        return Switcher(False, f'{name} skips steps of type {", ".join(map(str, types))}, written '
                        f'so, and the pipeline has {", ".join(strong) or "none of them"}')
    length = run_length(cfg)
    if length is not None and not length.by_epoch:
        return Switcher(True, f'{name} skips {", ".join(skips)} from the first iteration on, as '
                        'mmengine counts an iteration-based training as one epoch')
    when = '' if length is None else \
        f', from epoch {max(length.value - last - 1, 0)} of {length.value}, counted from 0'
    return Switcher(True, f'{name} skips {", ".join(skips)}{when}')
