"""The config edit that replaces the learning-rate schedule by a warm-up and a cosine."""

from __future__ import annotations

from typing import Any

from ...mm.config_edit import (
    RunLength,
    default_scope,
    is_a,
    optim_wrappers,
    type_name,
)
from ...mm.run_facts import epoch_length, filters_images, run_facts
from ...mm.schedules import (
    is_lr,
    own_scaling,
    schedulable,
    slow_groups,
)
from ...plan import ConfigEdit, RunFacts, Verdict
from ...plan.errors import TrickError
from . import MAX_DEFAULT_EPOCHS, MIN_FLAT, TWENTIETH
from .brief import cost, few_images
from .functional import fitted_warmup
from .own import (
    ONE_CYCLE,
    Floor,
    Warmup,
    found_already,
    own_floor,
    own_steps,
    own_warmup,
    unfinished,
)

__all__ = ['Edit']

_TYPE = 'tricks_plugin.WarmupCosineLR'
_SHAPE = ('warmup_epochs', 'warmup_iters', 'eta_min', 'flat_fraction')
_NONE_IS_0 = ('eta_min', 'flat_fraction')


class Edit(ConfigEdit):
    """Replaces the LR schedulers in ``param_scheduler``; others, as of momentum, stay."""

    def apply(self, cfg: dict[str, Any]) -> Verdict:
        """Replaces each optimizer's schedule that lacks warm-up or cosine."""
        wrappers = optim_wrappers(cfg)
        schedule = schedulable(cfg)
        if isinstance(schedule, str):
            return Verdict.not_applicable(schedule)
        run, lists = schedule
        scope = default_scope(cfg)
        early = {name: unfinished(items, scope, run, lambda: _epochs(cfg))
                 for name, items in lists.items()}
        found = {name: '' if early[name] else found_already(items, scope)
                 for name, items in lists.items()}
        todo = [name for name in lists if self.params.replace or not found[name]]
        own = next((w for name in todo if (w := own_warmup(lists[name], scope))), None)
        warmup, note = self._warmup(own, run, cfg)
        floors = {name: self._floor(lists[name], cfg, _of(name, wrappers), scope)
                  for name in todo}
        flat, why = self._flat(cfg, [item for name in todo for item in lists[name]])
        new = {name: [self._scheduler(warmup, run, floors[name], flat),
                      *(item for item in items if not is_lr(item, scope))]
               if name in todo else items for name, items in lists.items()}
        if new == lists:
            words = next(iter(found.values()), '') or 'nothing is scheduled'
            return Verdict.present(words + self._unused(lists), {} if any(found.values()) else None)
        cfg['param_scheduler'] = new.get('', new)
        ends = ' and '.join(dict.fromkeys(f'{floor}{floor.note}' for floor in floors.values()))
        stays = f', then flat for {flat:g} of the rest{why}' if flat else ''
        reason = f'{note}{stays}, then cosine to {ends} over {_run_words(run)}'
        for words in dict.fromkeys(early[name] for name in todo if early[name]):
            reason += f'; {words}'
        if any(is_a(item, *ONE_CYCLE, scope=scope) for name in todo for item in lists[name]):
            reason += "; the peak is the optimizer's lr, no longer OneCycleLR's eta_max"
        return Verdict.applied(reason, **({} if '' in new else {'optimizers': todo}))

    def _unused(self, lists: dict[str, list[dict[str, Any]]]) -> str:
        """What was set and the config's own schedule has not, in a clause; empty if nothing."""
        there = [item for items in lists.values() for item in items
                 if not is_a(item, 'LinearLR', 'ConstantLR', 'QuadraticWarmupLR')]
        words = [f'{name}={value:g}' for name in _SHAPE
                 if (value := getattr(self.params, name)) is not None
                 and not any(item.get(name, 0 if name in _NONE_IS_0 else None) == value
                             for item in there)]
        return (f'; {" and ".join(words)} {"are" if words[1:] else "is"} not used: tricks.'
                'cosine_warmup.replace=True puts this schedule in its place') if words else ''

    def pays(self, cfg: dict[str, Any], facts: RunFacts) -> str | None:
        """Not in place of a detector's own steps where it has hardly time to learn anything.

        Unless the LR is flat for long.
        """
        few, given = few_images(facts), self.params.flat_fraction
        flat = self.params.fitted_flat if given is None else given
        steps = self._steps(cfg) if few and flat < MIN_FLAT else ''
        if not steps:
            return None
        return f'{few} are too few for a cosine in place of {steps}: {cost(facts)}'

    def _steps(self, cfg: dict[str, Any]) -> str:
        """The class name of the config's own step decay, or empty."""
        schedule, scope = schedulable(cfg), default_scope(cfg)
        items = [] if isinstance(schedule, str) else [
            item for items in schedule[1].values() for item in items]
        steps = own_steps(items, scope)
        return '' if steps is None else type_name(steps)

    def _flat(self, cfg: dict[str, Any], old: list[dict[str, Any]]) -> tuple[float, str]:
        """The flat part, and why it is so long where nobody gave it.

        Args:
            cfg: The config.
            old: The schedulers that give way, whose own flat part is kept.
        """
        if self.params.flat_fraction is not None:
            return self.params.flat_fraction, ''
        kept = next((item['flat_fraction'] for item in old if item.get('flat_fraction')), 0.0)
        if kept or not self.params.fitted_flat:
            return kept, " (the config's own)" if kept else ''
        few = few_images(run_facts(cfg))
        if not few or not self._steps(cfg):
            return 0.0, ''
        return self.params.fitted_flat, f', as {few} are too few for a cosine from the start'

    def _floor(self, items: list[dict[str, Any]], cfg: dict[str, Any],
               wrappers: list[tuple[str, dict[str, Any]]], scope: str) -> Floor:
        """The parameter's LR at the end, the config's own, or 0.

        Raises:
            TrickError: If the parameter is above the LR of a parameter group.
        """
        own = own_floor(items, scope)
        slow = _above(own.value if self.params.eta_min is None else self.params.eta_min,
                      cfg, wrappers)
        if self.params.eta_min is None:
            if own.key == 'eta_min' and slow:
                path, lr = slow
                return Floor(note=f" (the config's own {own} is above the LR {lr:g} of "
                                   f'{path.removeprefix("the LR of ")})')
            return own
        if slow:
            path, lr = slow
            raise TrickError(f'tricks.cosine_warmup.eta_min must be <= {path} ({lr!r}), got '
                             f'{self.params.eta_min!r}')
        dropped = f" (the config's own {own.key} {own.value:g} gives way)" \
            if own.value and own.value != self.params.eta_min else ''
        return Floor(value=self.params.eta_min, note=dropped)

    def _warmup(self, own: Warmup | None, run: RunLength, cfg: dict[str, Any],
                ) -> tuple[Warmup, str]:
        """The warm-up to use, and how its length came about."""
        params = self.params
        if params.warmup_epochs is not None or params.warmup_iters is not None:
            by_epoch = params.warmup_epochs is not None
            given = Warmup(params.warmup_epochs if by_epoch else params.warmup_iters, by_epoch,
                            'given')
            _check_given(given, run, cfg)
            return given, f'warm-up of {given} from 0'
        if params.fitted_epochs is not None:
            return _fit(Warmup(params.fitted_epochs, True, 'advised'), run, cfg)
        if own is None:
            length = run.value / TWENTIETH
            length = min(MAX_DEFAULT_EPOCHS, length) if run.by_epoch else round(length)
            default = Warmup(length, run.by_epoch, 'default')
            return default, f'warm-up of {default} from 0 (the config has none of its own)'
        return _fit(own, run, cfg)

    def _scheduler(self, warmup: Warmup, run: RunLength, floor: Floor,
                   flat: float) -> dict[str, Any]:
        """The scheduler's config. mmengine fills in the run's length where it can."""
        unit = 'epochs' if warmup.by_epoch else 'iters'
        node: dict[str, Any] = {'type': _TYPE, f'warmup_{unit}': warmup.length}
        if warmup.by_epoch or run.by_epoch:
            node.update(by_epoch=True, convert_to_iter_based=True)
            if not run.by_epoch:
                node['total_iters'] = run.value
        else:
            node['by_epoch'] = False
        if warmup.origin in ('own', 'advised') and warmup.by_epoch != run.by_epoch:
            node['fit_warmup'] = True
        node[floor.key] = floor.value
        if flat:
            node['flat_fraction'] = flat
        return node


def _epochs(cfg: dict[str, Any]) -> tuple[int | None, bool]:
    """Iterations in an epoch by the annotation files, and whether images may be filtered out."""
    return epoch_length(cfg)[0], filters_images(cfg)


def _check_given(given: Warmup, run: RunLength, cfg: dict[str, Any]) -> None:
    """Refuses the user's own length where it is the run's or more beyond doubt.

    Raises:
        TrickError: If it is. Between epochs and iterations the annotation files decide; where
            images may be filtered out, an epoch is taken as half as long.
    """
    length, detail = given.length, ''
    if given.by_epoch != run.by_epoch:
        each, _ = epoch_length(cfg)
        if each is None:
            return
        shorter = 2 if filters_images(cfg) else 1
        length = length * each / shorter if given.by_epoch else length / each
        detail = f' ({each} iterations an epoch, by the annotation files)'
    if length >= run.value:
        unit = 'epochs' if given.by_epoch else 'iters'
        raise TrickError(f'tricks.cosine_warmup.warmup_{unit} must be less than the run of '
                         f'{_run_words(run)}{detail}, got {given.length!r}')


def _fit(warmup: Warmup, run: RunLength, cfg: dict[str, Any]) -> tuple[Warmup, str]:
    """A warm-up that nobody ordered for this run, made to fit it, and how its length came about.

    Where its unit is not the run's, the scheduler makes it fit when it is built.
    """
    own = warmup.origin == 'own'
    whose = "the config's own " if own else ''
    says = f'warm-up of {warmup} from 0' + (" (the config's own length)" if own else '')
    if warmup.by_epoch != run.by_epoch:
        return warmup, _built_words(warmup, run, cfg, whose, says)
    length = fitted_warmup(warmup.length, run.value)
    if not own and 2 * length == run.value:
        length = run.value / 10
    if length == warmup.length:
        return warmup, says
    cut = Warmup(length if run.by_epoch else round(length), run.by_epoch, warmup.origin)
    much = 'more than half of it' if own else 'half of it or more'
    return cut, (f'warm-up of {cut} from 0, a tenth of the run ({whose}{warmup} would fill '
                 f'{much})')


def _built_words(warmup: Warmup, run: RunLength, cfg: dict[str, Any], whose: str,
                 says: str) -> str:
    """What becomes of a warm-up that the scheduler makes fit, as far as a plan can know.

    Args:
        warmup: In another unit than the run.
        run: The run's length.
        cfg: The config.
        whose: In front of the warm-up's length.
        says: What is true of one that fits.
    """
    each, why = epoch_length(cfg)
    if each is None:
        return says if whose else (f'{says}, or of a tenth of the run where that is more than '
                                   f'half of it ({why})')
    share = warmup.length * each / run.value if warmup.by_epoch else \
        warmup.length / each / run.value
    shorter = 2 if filters_images(cfg) else 1  # an epoch, at the most
    least, most = (share / shorter, share) if warmup.by_epoch else (share, share * shorter)
    if least > 0.5:
        tenth = run.value / 10
        cut = Warmup(tenth if run.by_epoch else round(tenth), run.by_epoch, warmup.origin)
        return (f'warm-up of {cut} from 0, a tenth of the run ({whose}{warmup} would fill more '
                'than half of it, by the annotation files)')
    if most > 0.5:
        return (f'{says}, or of a tenth of the run where that is more than half of it, as images '
                'may be filtered out')
    return says


def _of(name: str, wrappers: list[tuple[str, dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
    """The optimizers that a list of schedulers is for."""
    return [(path, wrapper) for path, wrapper in wrappers
            if not name or path == f'optim_wrapper.{name}']


def _above(eta_min: float, cfg: dict[str, Any], wrappers: list[tuple[str, dict[str, Any]]],
           ) -> tuple[str, float] | None:
    """The setting whose LR is the smallest below ``eta_min``, and that LR."""
    factor = own_scaling(cfg)
    rates = {}
    for path, wrapper in wrappers:
        lr = wrapper['optimizer'].get('lr')
        if isinstance(lr, (int, float)):
            rates[f'{path}.optimizer.lr'] = lr * factor
            rates |= {f'the LR of {path}.{key}': rate * factor
                      for key, rate in slow_groups(wrapper, cfg).items()}
    below = {path: rate for path, rate in rates.items() if eta_min > rate}
    return min(below.items(), key=lambda item: item[1]) if below else None


def _run_words(run: RunLength) -> str:
    return str(Warmup(run.value, run.by_epoch, 'run'))
