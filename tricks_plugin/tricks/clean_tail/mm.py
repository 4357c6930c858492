"""The config edit that ends a config's own strong augmentation before the training ends."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ...mm import config_edit
from ...mm.config_edit import append_hook, find, type_name
from ...mm.ending import OFF_FRACTION, Ending
from ...mm.own_ends import ENDED_CROPS, ENDED_STEPS, Switcher, switch_pipelines, switchers
from ...plan import ConfigEdit, Verdict
from ...plan.errors import TrickError, nearest
from .steps import Closed, close_steps

__all__ = ['Edit']

_PATH = 'tricks.clean_tail'
_NEEDED = ('Load', 'Pack')
_VIEWS = ('MultiBranch', 'SemiBaseDetector')


class Edit(ConfigEdit):
    """Wraps the strong steps in `Switched`, and adds the hook that turns them off."""

    def apply(self, cfg: dict[str, Any]) -> Verdict:
        """Edits the training pipelines; see the README for what is left alone."""
        pipelines = config_edit.train_pipelines(cfg)
        if not pipelines:
            return Verdict.not_applicable(config_edit.no_pipeline(cfg))
        scope = config_edit.default_scope(cfg)
        dataset = config_edit.get(cfg, 'train_dataloader.dataset')
        root = 'train_dataloader.dataset'
        for path, _ in find(dataset, 'Switched', scope=scope, path=root):
            return Verdict.present(f'{path} is Switched', _promise_of(cfg, scope))
        for section in ('train_dataloader.dataset', 'model'):
            for path, node in find(config_edit.get(cfg, section), *_VIEWS, scope=scope,
                                   path=section):
                return Verdict.not_applicable(f'{path} is {type_name(node)}: the strong view of a '
                                              'semi-supervised training is its method')
        names = self._names(cfg, scope)
        ending = Ending.of(cfg, self.params, _PATH, follow=False)
        own = switchers(cfg, pipelines, names, given=self.params.steps is not None)
        if own and own[0].reaches:
            return self._present(own)
        length = ending.length
        if length is not None and length.value == 1:
            unit = 'epoch' if length.by_epoch else 'iteration'
            return Verdict.not_applicable('; '.join([
                f'a run of one {unit} keeps its augmentation, as its last part would be all of it',
                *(f'but {one.words}; that is left as it is' for one in own if one.spoils)]))
        crops = ENDED_CROPS if self.params.steps is None else ()
        closed = close_steps(pipelines, names, crops, scope)
        within = self._close_in_hooks(cfg, closed, names, crops, scope)
        if not closed.names and not within:
            return Verdict.not_applicable(self._none(pipelines, closed.notes))
        append_hook(cfg, dict(type='tricks_plugin.ClosingHook', **ending.settings))
        notes = [f'{_listed(closed.names or within)} {ending}', *closed.notes]
        notes += [f'{one.words}; {_give_way(one.spoils)}' for one in own]
        return Verdict.applied('; '.join(notes), **ending.settings)

    def _present(self, own: list[Switcher]) -> Verdict:
        """What is said of a hook of the config that does this, and measured of it."""
        first = own[0]
        unused = [name for name in ('off_fraction', 'off_epochs')
                  if getattr(self.params, name) is not None]
        words = first.words + ''.join(
            f'; {name}={getattr(self.params, name)} is not used, as that hook decides'
            for name in unused) + ''.join(
            f'; {one.words}' for one in own if one.spoils is not None)
        if first.begins is None or not first.ends:
            return Verdict.present(words)
        return Verdict.present(words, {'own_from': first.begins, 'own_steps': list(first.ends)})

    def _close_in_hooks(self, cfg: dict[str, Any], closed: Closed, names: tuple[str, ...],
                        crops: tuple[str, ...], scope: str) -> list[str]:
        """The same in the pipelines that hooks of the config put in place; what ends there."""
        ended: list[str] = []
        for hook, key, path in switch_pipelines(cfg):
            line = config_edit.Pipeline(f'{path}.{key}', {'pipeline': hook[key]})
            within = close_steps([line], names, crops, scope)
            if within.names:
                hook[key] = line.steps
                ended += within.names
                closed.note(f'{_listed(within.names)} in {line.path} too')
        return ended

    def _names(self, cfg: dict[str, Any], scope: str) -> tuple[str, ...]:
        """The class names of the steps that are to end."""
        if self.params.steps is None:
            return ENDED_STEPS
        there = {type_name(node) for pipeline in config_edit.train_pipelines(cfg)
                 for _, node in config_edit.walk(pipeline.steps) if 'type' in node}
        for name in self.params.steps:
            if name.rsplit('.', 1)[-1].startswith(_NEEDED):
                raise TrickError(f'{_PATH}.steps: {name} cannot end: no image comes without it')
            if name in there or name in ENDED_STEPS or _is_transform(name, scope):
                continue
            raise TrickError(f'{_PATH}.steps: unknown transform {name!r}'
                             f'{nearest(name, sorted({*ENDED_STEPS, *there}))}')
        return tuple(name.rsplit('.', 1)[-1] for name in self.params.steps)

    def _none(self, pipelines: list[config_edit.Pipeline], notes: list[str]) -> str:
        """Why nothing ends."""
        if notes:
            return '; '.join(notes)
        steps = dict.fromkeys(type_name(step) for pipeline in pipelines for step in pipeline.steps
                              if isinstance(step, dict))
        wanted = 'strong step that could end' if self.params.steps is None else \
            ' or '.join(self.params.steps)
        return f'the training pipeline has no {wanted} ({", ".join(filter(None, steps))})'


def _give_way(hook: dict[str, Any] | None) -> str:
    """Exchanges mmdet's YOLOXModeSwitchHook that would spoil the end, and says so.

    Args:
        hook: The config's; None where it does no harm.
    """
    if hook is None:
        return 'it is left as it is'
    hook.pop('skip_type_keys', None)
    hook['type'] = 'tricks_plugin.YOLOXLossHook'
    return ('YOLOXLossHook takes its place, which turns on the L1 loss when that was due and '
            'does nothing else')


def _is_transform(name: str, scope: str) -> bool:
    kind = config_edit.lookup_class(name, scope)
    return any(base.__name__ == 'BaseTransform' for base in getattr(kind, '__mro__', ()))


def _listed(names: list[str]) -> str:
    return ', '.join(name if count == 1 else f'{name} ({count} times)'
                     for name, count in Counter(names).items())


def _promise_of(cfg: dict[str, Any], scope: str) -> dict[str, Any] | None:
    """What a config that has switches already is to show; None without the hook."""
    for _, hook in find(cfg.get('custom_hooks'), 'ClosingHook', scope=scope):
        return {'off_fraction': hook.get('off_fraction', OFF_FRACTION),
                'off_epochs': hook.get('off_epochs')}
    return None
