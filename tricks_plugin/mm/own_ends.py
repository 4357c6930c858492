"""The config's own hooks that end its augmentation, and whether they reach it."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

from .config_edit import (
    Pipeline,
    default_scope,
    find,
    find_hooks,
    get,
    is_a,
    run_length,
    train_pipelines,
    type_name,
)

__all__ = ['ENDED_CROPS', 'ENDED_STEPS', 'Switcher', 'own_end', 'switch_pipelines', 'switchers']

ENDED_STEPS = (
    # several images in one
    'Mosaic', 'CachedMosaic', 'Mosaic9', 'MixUp', 'CachedMixUp', 'YOLOXMixUp', 'YOLOv5MixUp',
    'CopyPaste', 'YOLOv5CopyPaste',
    # geometry and zoom that no test image has
    'RandomAffine', 'YOLOv5RandomAffine', 'Expand', 'MinIoURandomCrop', 'RandomShift',
    # colours and holes
    'YOLOXHSVRandomAug', 'YOLOv5HSVRandomAug', 'PhotoMetricDistortion', 'RandomErasing', 'CutOut',
    # searched policies
    'AutoAugment', 'RandAugment', 'RandAug',
)
"""The steps that end by default, by class name."""

ENDED_CROPS = ('RandomCrop',)
"""Those that end by default where a resize follows, and elsewhere give images their size."""

_MULTI = 'MultiImageMixDataset'
_MIXES = ('Mosaic', 'CachedMosaic', 'Mosaic9', 'MixUp', 'CachedMixUp', 'YOLOXMixUp',
          'YOLOv5MixUp', 'CopyPaste', 'YOLOv5CopyPaste')


@dataclasses.dataclass(frozen=True)
class Switcher:
    """A hook of the config that is to end its augmentation.

    Attributes:
        reaches: Whether it does so in this run.
        words: What it does, or why it does not.
        begins: The epoch, counted from 0, from which it does; None if that is not known.
        ends: Class names of the steps that it ends.
        spoils: Mmdet's YOLOXModeSwitchHook, if it must not stay beside another end: it would end
            the run, or all of the augmentation.
        name: Its path and class, of one that reaches.
    """

    reaches: bool
    words: str
    begins: int | None = None
    ends: tuple[str, ...] = ()
    spoils: dict[str, Any] | None = None
    name: str = ''


@dataclasses.dataclass(frozen=True)
class _Wanted:
    """Which steps are to end.

    Attributes:
        names: Their class names.
        given: Whether the user named them: then no hook may leave one of them.
        scope: The config's default scope.
    """

    names: Collection[str]
    given: bool
    scope: str

    def types(self, steps: Any, *names: str) -> list[str]:
        """Class names of steps, those inside others included, each once."""
        return list(dict.fromkeys(type_name(step) for _, step in find(
            steps, *names, scope=self.scope)))

    def left(self, steps: Any) -> tuple[list[str], list[str]]:
        """What a pipeline still has: the steps that make it no clean end, and other strong ones."""
        strong = self.types(steps, *self.names)
        if self.given:
            return strong, []
        mixing = self.types(steps, *_MIXES)
        return mixing, [name for name in strong if name not in mixing]

    def ends(self, old: Any, new: Any) -> tuple[str, ...]:
        """The strong steps that are in one pipeline and not in another."""
        return tuple(name for name in self.types(old, *self.names)
                     if name not in self.types(new, *self.names))


def switch_pipelines(cfg: dict[str, Any]) -> list[tuple[dict[str, Any], str, str]]:
    """The config's hooks that put another training pipeline in place: hook, its key, and path."""
    return [(hook, key, path) for kind, key in (('PipelineSwitchHook', 'switch_pipeline'),
                                                ('YOLOXModeSwitchHook', 'new_train_pipeline'))
            for path, hook in find_hooks(cfg, kind) if isinstance(hook.get(key), list)]


def switchers(cfg: dict[str, Any], pipelines: list[Pipeline], names: Collection[str],
              given: bool = False) -> list[Switcher]:
    """The hooks that are to end the augmentation, those that do first.

    Args:
        cfg: The config.
        pipelines: Of its training dataset.
        names: Class names of the steps that are to end.
        given: Whether the user named them.
    """
    scope, found = default_scope(cfg), []
    wanted = _Wanted(names, given, scope)
    for path, hook in find_hooks(cfg, 'PipelineSwitchHook'):
        found.append(_pipeline_switch(cfg, path, hook, pipelines, wanted))
    for path, hook in find_hooks(cfg, 'YOLOXModeSwitchHook'):
        found.append(_mmyolo_switch(cfg, path, hook, pipelines, wanted)
                     if _is_mmyolos(hook, scope)
                     else _mode_switch(cfg, path, hook, pipelines, wanted))
    return sorted(found, key=lambda one: not one.reaches)


def own_end(cfg: dict[str, Any]) -> tuple[str, int] | None:
    """The hook of the config that ends its augmentation within this run, and from which epoch.

    Args:
        cfg: A plain config.

    Returns:
        Path and class, and the epoch counted from 0, of the last that does; None where none
        does, or where it takes the whole run.
    """
    found = [(one.name, one.begins) for one in switchers(cfg, train_pipelines(cfg), ENDED_STEPS)
             if one.reaches and one.ends and one.begins is not None and one.begins > 0]
    return max(found, key=lambda one: one[1], default=None)


def _puts_in(name: str, dataset: dict[str, Any], pipelines: list[Pipeline], steps: list[Any],
             wanted: _Wanted) -> tuple[str, list[str]]:
    """Why a pipeline that a hook puts in is no end of the augmentation, and what it leaves."""
    mixing, strong = wanted.left(steps)
    if mixing:
        return f'{name} puts in a pipeline that still has {", ".join(mixing)}', strong
    if strong and not wanted.ends(dataset['pipeline'], steps):
        return (f'{name} puts in a pipeline that ends no strong step, and has '
                f'{", ".join(strong)}'), strong
    against, within = _inner(name, dataset, pipelines, wanted)
    return against, [*strong, *within]


def _inner(name: str, dataset: dict[str, Any], pipelines: list[Pipeline],
           wanted: _Wanted) -> tuple[str, list[str]]:
    """That a hook of the outermost data set leaves what is to end in one within, or empty.

    And the other strong steps that it leaves there.
    """
    left, strong = wanted.left([one.steps for one in pipelines if one.owner is not dataset])
    return (f'{name} does not reach {", ".join(left)} of the data set within' if left else '',
            [f'{one} of the data set within' for one in strong])


def _pipeline_switch(cfg: dict[str, Any], path: str, hook: dict[str, Any],
                     pipelines: list[Pipeline], wanted: _Wanted) -> Switcher:
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
    if is_a(dataset, _MULTI, scope=wanted.scope) and len(steps) > len(dataset['pipeline']):
        return Switcher(False, f'{name} puts {len(steps)} steps in the place of '
                        f'{len(dataset["pipeline"])}, and {_MULTI} drops those beyond')
    if length is not None and epoch >= length.value:
        return Switcher(False, f'{name} is due at epoch {epoch} of {length.value}, after the end')
    against, strong = _puts_in(name, dataset, pipelines, steps, wanted)
    if against:
        return Switcher(False, against)
    return Switcher(True, f'{name} puts another pipeline in place{_still(strong)} from epoch '
                    f'{epoch}' + ('' if length is None else f' of {length.value}')
                    + ', counted from 0' + (': the whole run has that one' if epoch <= 0 else ''),
                    epoch, wanted.ends(dataset['pipeline'], steps), name=name)


def _still(strong: Collection[str]) -> str:
    return f', which still has {", ".join(strong)},' if strong else ''


def _is_mmyolos(hook: dict[str, Any], scope: str) -> bool:
    """Whether a YOLOXModeSwitchHook is mmyolo's, which has nothing but the name of mmdet's."""
    kind = str(hook.get('type'))
    return 'new_train_pipeline' in hook or kind.startswith('mmyolo.') or \
        scope == 'mmyolo' and '.' not in kind


def _mmyolo_switch(cfg: dict[str, Any], path: str, hook: dict[str, Any],
                   pipelines: list[Pipeline], wanted: _Wanted) -> Switcher:
    """Mmyolo's YOLOXModeSwitchHook: it builds the loader anew with another pipeline.

    At one epoch exactly, where mmdet's switches from one on.
    """
    name = f'{path} ({type_name(hook)})'
    dataset = get(cfg, 'train_dataloader.dataset') or {}
    steps, length = hook.get('new_train_pipeline'), run_length(cfg)
    if not isinstance(steps, list):
        return Switcher(False, f'{name} names no new_train_pipeline, and leaves none when it is '
                        'due')
    if not isinstance(dataset.get('pipeline'), list):
        return Switcher(False, f'{name} gives a pipeline to {type_name(dataset)}, which takes '
                        'none: it will end the run when it is due')
    if length is not None and not length.by_epoch:
        return Switcher(False, f'{name} counts epochs, and this training counts iterations')
    if length is not None and length.value <= hook.get('num_last_epochs', 15):
        return Switcher(False, f'{name} is due before the first of {length.value} epochs, and '
                        'never switches')
    against, strong = _puts_in(name, dataset, pipelines, steps, wanted)
    if against:
        return Switcher(False, against)
    begins = _last(hook, length)
    return Switcher(True, f'{name} builds the loader anew with another pipeline{_still(strong)}'
                    + _when(begins, length), begins, wanted.ends(dataset['pipeline'], steps),
                    name=name)


def _last(hook: dict[str, Any], length: Any) -> int | None:
    """The epoch, counted from 0, from which a hook switches ``num_last_epochs`` before the end."""
    return None if length is None else max(length.value - hook.get('num_last_epochs', 15) - 1, 0)


def _when(begins: int | None, length: Any) -> str:
    if begins is None:
        return ''
    return f' from epoch {begins} of {length.value}, counted from 0' + \
        ('' if begins else ': the whole run is without it')


def _mode_switch(cfg: dict[str, Any], path: str, hook: dict[str, Any], pipelines: list[Pipeline],
                 wanted: _Wanted) -> Switcher:
    """Mmdet's YOLOXModeSwitchHook: it has a MultiImageMixDataset skip steps by their types."""
    name, names, scope = f'{path} ({type_name(hook)})', wanted.names, wanted.scope
    dataset = get(cfg, 'train_dataloader.dataset') or {}
    if not is_a(dataset, _MULTI, scope=scope):
        return Switcher(False, f'{name} asks {type_name(dataset)} for update_skip_type_keys, which '
                        f'only {_MULTI} has: it would end the run with an AttributeError when it '
                        'is due', spoils=hook)
    types = hook.get('skip_type_keys', ('Mosaic', 'RandomAffine', 'MixUp'))
    own = [step for pipeline in pipelines if pipeline.owner is dataset for step in pipeline.steps
           if isinstance(step, dict)]
    skips = [type_name(step) for step in own if step.get('type') in types]
    rest = [step for step in own if step.get('type') not in types]
    mixes, strong = wanted.left(rest)
    if not skips or mixes:
        found = [str(step.get('type')) for step in rest if type_name(step) in mixes] or \
            [str(step.get('type')) for step in own if is_a(step, *names, scope=scope)]
        return Switcher(False, f'{name} skips steps of type {", ".join(map(str, types))}, written '
                        f'so, and the pipeline has {", ".join(found) or "none of them"}')
    against, within = _inner(name, dataset, pipelines, wanted)
    if against:
        return Switcher(False, against)
    length, strong = run_length(cfg), [*strong, *within]
    words = f'{name} skips {", ".join(skips)}' + (
        f' and leaves {", ".join(strong)}' if strong else '')
    if length is not None and not length.by_epoch:
        return Switcher(False, f'{words} from the first iteration on, as mmengine counts an '
                        'iteration-based training as one epoch: the whole run would be without, '
                        'but for workers that have begun by then, as those of mmengine 0.10.7 '
                        'have, which go on with all steps', spoils=hook)
    begins = _last(hook, length)
    if length is not None and begins == 0:
        return Switcher(False, f'{words} from epoch 0 of {length.value} on: the whole run would '
                        'be without', spoils=hook)
    return Switcher(True, words + (',' if begins is not None else '') + _when(begins, length),
                    begins, tuple(dict.fromkeys(skips)), name=name)
