"""Replaces a config's learning-rate schedule by a warm-up from 0 and a cosine."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

from ...mm.config_edit import (
    RunLength,
    copy_plain,
    default_scope,
    is_a,
    optim_wrappers,
    run_length,
    type_name,
)
from ...mm.schedules import is_lr, is_warmup, scheduler_lists
from ...plan import TRICKS, Params, Trick, Verdict, bounded
from ...plan.errors import TrickError
from .functional import fitted_warmup

__all__ = ['CosineWarmup']

_TYPE = 'tricks_plugin.WarmupCosineLR'
_TWENTIETH = 20
_MAX_DEFAULT_EPOCHS = 5


@dataclasses.dataclass(frozen=True)
class _Warmup:
    """A warm-up's length in its own unit, and where it comes from ('given', 'own', 'default')."""

    length: float
    by_epoch: bool
    origin: str

    def __str__(self) -> str:
        unit = 'epoch' if self.by_epoch else 'iteration'
        return f'{self.length:.12g} {unit}{"" if self.length == 1 else "s"}'


@dataclasses.dataclass(frozen=True)
class CosineWarmupParams(Params):
    """Parameters of the schedule."""

    warmup_epochs: float | None = bounded(
        None, 'length of the warm-up in epochs; None keeps the length the config has', ge=0)
    warmup_iters: int | None = bounded(None, 'the same in iterations', ge=0)
    eta_min: float = bounded(0.0, 'the LR at the end of the run, absolute', ge=0)
    replace: bool = bounded(False, 'replace a schedule that has warm-up and cosine already')

    def check(self, path: str) -> None:
        """Raises TrickError if both lengths are given."""
        if self.warmup_epochs is not None and self.warmup_iters is not None:
            raise TrickError(
                f'{path}.warmup_epochs and {path}.warmup_iters exclude each other, got '
                f'{self.warmup_epochs!r} and {self.warmup_iters!r}'
            )


@TRICKS.register
class CosineWarmup(Trick):
    """Linear warm-up from 0, then cosine, stepped per iteration."""

    name = 'cosine_warmup'
    title = 'linear warm-up from 0, then cosine to eta_min, per iteration'
    paper = 'BoT (arXiv 1812.01187) sections 3.1 and 5.1; BoF (arXiv 1902.04103) section 3.4'
    order = 20
    evidence = 'tricks_plugin.tricks.cosine_warmup.evidence:LearningRateEvidence'
    timm_main = 'sched'
    timm_derives = ('epochs',)

    Params = CosineWarmupParams

    def apply(self, cfg: dict[str, Any]) -> Verdict:
        """Replaces the LR schedulers in ``param_scheduler``; others, as of momentum, stay."""
        wrappers = optim_wrappers(cfg)
        if not wrappers:
            return Verdict.not_applicable('the config has no optimizer whose LR could be scheduled')
        run = run_length(cfg)
        if run is None:
            return Verdict.not_applicable('the config does not say how long it trains')
        lists = scheduler_lists(cfg.get('param_scheduler'))
        if lists is None:
            return Verdict.not_applicable('param_scheduler has a form that is not known')
        scope = default_scope(cfg)
        found = {name: _found(items, scope) for name, items in lists.items()}
        todo = [name for name in lists if self.params.replace or not found[name]]
        own = next((w for name in todo if (w := _own_warmup(lists[name], scope))), None)
        warmup, note = self._warmup(own, run)
        node = self._scheduler(warmup, run)
        new = {name: [copy_plain(node), *(item for item in items if not is_lr(item, scope))]
               if name in todo else items for name, items in lists.items()}
        if new == lists:
            return Verdict.present(next(iter(found.values()), '') or 'nothing is scheduled')
        self._check_eta_min(wrappers)
        cfg['param_scheduler'] = new.get('', new)
        reason = f'{note}, then cosine to {self.params.eta_min:g} over {_run_words(run)}'
        return Verdict.applied(reason, optimizers=None if '' in new else todo, **{
            key: node[key] for key in ('warmup_epochs', 'warmup_iters', 'eta_min', 'fit_warmup')
            if key in node})

    def _check_eta_min(self, wrappers: list[tuple[str, dict[str, Any]]]) -> None:
        for path, wrapper in wrappers:
            lr = wrapper['optimizer'].get('lr')
            if isinstance(lr, (int, float)) and self.params.eta_min > lr:
                raise TrickError(
                    f'tricks.cosine_warmup.eta_min must be <= {path}.optimizer.lr ({lr!r}), got '
                    f'{self.params.eta_min!r}'
                )

    def _warmup(self, own: _Warmup | None, run: RunLength) -> tuple[_Warmup, str]:
        """The warm-up to use, and how its length came about."""
        params = self.params
        if params.warmup_epochs is not None or params.warmup_iters is not None:
            by_epoch = params.warmup_epochs is not None
            given = _Warmup(params.warmup_epochs if by_epoch else params.warmup_iters, by_epoch,
                            'given')
            if by_epoch == run.by_epoch and given.length >= run.value:
                unit = 'epochs' if by_epoch else 'iters'
                raise TrickError(
                    f'tricks.cosine_warmup.warmup_{unit} must be less than the run of '
                    f'{_run_words(run)}, got {given.length!r}'
                )
            return given, f'warm-up of {given} from 0'
        if own is None:
            length = run.value / _TWENTIETH
            length = min(_MAX_DEFAULT_EPOCHS, length) if run.by_epoch else round(length)
            default = _Warmup(length, run.by_epoch, 'default')
            return default, f'warm-up of {default} from 0 (the config has none of its own)'
        if own.by_epoch != run.by_epoch:
            return own, f"warm-up of {own} from 0 (the config's own length)"
        fitted = fitted_warmup(own.length, run.value)
        if fitted != own.length:
            cut = _Warmup(fitted if run.by_epoch else round(fitted), run.by_epoch, 'own')
            return cut, (f"warm-up of {cut} from 0, a tenth of the run (the config's own {own} "
                         'would fill more than half of it)')
        return own, f"warm-up of {own} from 0 (the config's own length)"

    def _scheduler(self, warmup: _Warmup, run: RunLength) -> dict[str, Any]:
        """The scheduler's config. mmengine fills in the run's length where it can."""
        unit = 'epochs' if warmup.by_epoch else 'iters'
        node: dict[str, Any] = {'type': _TYPE, f'warmup_{unit}': warmup.length}
        if warmup.by_epoch or run.by_epoch:
            node.update(by_epoch=True, convert_to_iter_based=True)
            if not run.by_epoch:
                node['total_iters'] = run.value
        else:
            node['by_epoch'] = False
        if warmup.origin == 'own' and warmup.by_epoch != run.by_epoch:
            node['fit_warmup'] = True
        node['eta_min'] = self.params.eta_min
        return node

    def timm_args(
        self, args: dict[str, Any], given: Collection[str] = frozenset(),
    ) -> dict[str, Any] | str | None:
        """Selects timm's cosine with a warm-up from 0 in front, stepped per update."""
        epochs = args.get('epochs', 300)
        if self.params.warmup_iters is not None:
            return 'timm counts a warm-up in epochs: give cosine_warmup.warmup_epochs'
        if isinstance(epochs, bool) or not isinstance(epochs, int):
            return f'--epochs must be a whole number, got {epochs!r}'
        settings = {'sched': 'cosine', 'sched_on_updates': True, 'warmup_lr': 0.0,
                    'warmup_epochs': self._timm_warmup(args, given, epochs), 'warmup_prefix': True,
                    'min_lr': self.params.eta_min, 'cooldown_epochs': 0}
        if 'warmup_prefix' not in given:
            # timm adds a prefixed warm-up to the epochs; without the prefix the LR jumps at the
            # joint.
            settings['epochs'] = epochs - settings['warmup_epochs']
        return settings

    def _timm_warmup(self, args: dict[str, Any], given: Collection[str], epochs: int) -> int:
        """The epochs of the warm-up: the user's flag, the parameter, or a twentieth of the run."""
        if 'warmup_epochs' in given:
            name, length = '--warmup-epochs', args['warmup_epochs']
        elif self.params.warmup_epochs is not None:
            name, length = 'tricks.cosine_warmup.warmup_epochs', self.params.warmup_epochs
        else:
            return min(_MAX_DEFAULT_EPOCHS, max(epochs // _TWENTIETH, 1), max(epochs - 1, 0))
        if length != int(length):
            raise TrickError(f'{name} must be a whole number of epochs for timm, got {length!r}')
        if length >= epochs and 'warmup_prefix' not in given:
            raise TrickError(f'{name} must be less than epochs ({epochs}), got {length!r}')
        return int(length)

    def timm_note(self, before: dict[str, Any], after: dict[str, Any]) -> str:
        """Shows how the length of the run is kept."""
        warmup, epochs = after['warmup_epochs'], after['epochs']
        if epochs != before['epochs']:
            return f'{warmup} + {epochs} epochs = the {before["epochs"]} asked for'
        return f'{warmup} epochs of warm-up come on top of {epochs}, as --warmup-prefix is yours' \
            if warmup and after['warmup_prefix'] else ''


def _is_constant_warmup(node: dict[str, Any], scope: str) -> bool:
    """Whether an LR scheduler holds a smaller LR from the first step on."""
    factor = node.get('factor', 1 / 3)
    return (is_a(node, 'ConstantLR', scope=scope) and not node.get('begin', 0)
            and isinstance(factor, (int, float)) and factor < 1)


def _found(items: list[dict[str, Any]], scope: str) -> str:
    """What an optimizer's schedule has already, in a sentence; empty if it lacks something."""
    lr = [item for item in items if is_lr(item, scope)]
    if any(is_a(item, 'WarmupCosineLR', scope=scope) for item in lr):
        return 'the config has WarmupCosineLR already'
    if any(is_a(item, 'OneCycleLR', 'OneCycleParamScheduler', scope=scope) for item in lr):
        return 'the config has warm-up and cosine already (OneCycleLR)'
    ramp = next((item for item in lr if is_warmup(item, scope)), None)
    cosine = next((item for item in lr if is_a(
        item, 'CosineAnnealingLR', 'CosineAnnealingParamScheduler', scope=scope)), None)
    if ramp is None or cosine is None:
        return ''
    return f'the config has warm-up ({type_name(ramp)}) and cosine ({type_name(cosine)}) already'


def _own_warmup(items: list[dict[str, Any]], scope: str) -> _Warmup | None:
    """The length of the warm-up that a schedule has, if it says one."""
    for item in items:
        if is_a(item, 'WarmupCosineLR', scope=scope):
            for unit in ('epochs', 'iters'):
                if isinstance(item.get(f'warmup_{unit}'), (int, float)):
                    return _Warmup(item[f'warmup_{unit}'], unit == 'epochs', 'own')
        end = item.get('end')
        if not isinstance(end, (int, float)) or isinstance(end, bool) or end <= 0:
            continue
        if is_warmup(item, scope) or _is_constant_warmup(item, scope):
            return _Warmup(end, bool(item.get('by_epoch', True)), 'own')
    return None


def _run_words(run: RunLength) -> str:
    return str(_Warmup(run.value, run.by_epoch, 'run'))
