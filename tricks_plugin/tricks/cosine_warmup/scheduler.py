"""One closed-form scheduler for the warm-up and the cosine."""

from __future__ import annotations

import logging
from typing import Any

from mmengine.logging import print_log
from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler
from mmengine.registry import PARAM_SCHEDULERS

from .functional import check_eta_min, check_flat, check_schedule, fitted_warmup, warmup_cosine

__all__ = ['WarmupCosineLR']

_INF = int(1e9)
_STATE = ('last_step', '_global_step', 'base_values', '_last_value')


@PARAM_SCHEDULERS.register_module()
class WarmupCosineLR(LRSchedulerMixin, _ParamScheduler):
    """Linear warm-up from 0 to the base LR, then a half cosine to ``eta_min``, per iteration.

    With ``flat_fraction`` the LR stays at the base LR between the two.

    The LR is a function of the step and of each group's ``initial_lr`` alone, never of the LR
    before it: it is exact after a resume, and stays ``eta_min`` after the end.

    In a config the lengths are written in the unit that suits it; `build_iter_from_epoch` turns
    epochs into iterations:

        dict(type='tricks_plugin.WarmupCosineLR', by_epoch=False, warmup_iters=500)
        dict(type='tricks_plugin.WarmupCosineLR', convert_to_iter_based=True, warmup_epochs=5)

    The run's length (``end``) is filled in by mmengine where it is left out. Saved in a
    checkpoint are the step and the base LRs only, so that a schedule that was changed in the
    config takes effect on resume.

    Args:
        optimizer: The optimizer, or its wrapper.
        warmup_iters: Length of the warm-up in iterations; 0 for none.
        end: The iteration at which ``eta_min`` is reached.
        eta_min: The LR at the end, absolute and the same for all groups.
        eta_min_ratio: The same as a share of each group's base LR; takes the place of ``eta_min``.
        begin: The iteration at which the warm-up begins.
        fit_warmup: What a warm-up of more than half of the run means: shorten it to a tenth of
            the run with a warning (True), or take it as it is (False).
        by_epoch: Must be False; True, mmengine's default, is for `build_iter_from_epoch`.
        epoch_length: Iterations per epoch, where known. Lets the scheduler continue a run that
            was begun with a scheduler stepped per epoch.
        flat_fraction: The share of what follows the warm-up that stays at the base LR, in [0, 1).
        last_step: Index of the last step; -1 for a new run.
        verbose: Whether to log every LR.

    Raises:
        ValueError: If ``by_epoch`` is True, ``end`` is missing, the warm-up is not shorter than
            the run, ``flat_fraction`` is outside of [0, 1), or ``eta_min`` is above a group's base
            LR, or given beside ``eta_min_ratio``.

    Source: BoT (arXiv 1812.01187) sections 3.1 and 5.1.
    """

    def __init__(
        self,
        optimizer: Any,
        warmup_iters: int,
        end: int | None = None,
        eta_min: float = 0.0,
        begin: int = 0,
        fit_warmup: bool = False,
        by_epoch: bool = True,
        epoch_length: int | None = None,
        eta_min_ratio: float | None = None,
        flat_fraction: float = 0.0,
        last_step: int = -1,
        verbose: bool = False,
    ) -> None:
        if by_epoch:
            raise ValueError(
                'WarmupCosineLR is stepped per iteration: set by_epoch=False with lengths in '
                'iterations, or convert_to_iter_based=True with lengths in epochs; got '
                f'by_epoch={by_epoch!r} without convert_to_iter_based'
            )
        if end is None or end <= begin:
            raise ValueError(f'end must be an iteration after begin ({begin!r}), got {end!r}')
        self.total_iters = end - begin
        self.warmup_iters = _fit(warmup_iters, self.total_iters) if fit_warmup else warmup_iters
        check_schedule(self.warmup_iters, self.total_iters)
        if eta_min and eta_min_ratio is not None:
            raise ValueError('eta_min and eta_min_ratio exclude each other, got '
                             f'{eta_min!r} and {eta_min_ratio!r}')
        self.eta_min = eta_min
        self.eta_min_ratio = eta_min_ratio
        check_flat(flat_fraction)
        self.flat_fraction = flat_fraction
        self.epoch_length = epoch_length
        # No end for the base class: it would leave the LR one step short of eta_min.
        super().__init__(optimizer, begin=begin, end=_INF, last_step=last_step, by_epoch=False,
                         verbose=verbose)

    @classmethod
    def build_iter_from_epoch(
        cls,
        optimizer: Any,
        warmup_epochs: float | None = None,
        warmup_iters: int | None = None,
        total_iters: int | None = None,
        begin: float = 0,
        end: float | None = None,
        by_epoch: bool = True,
        epoch_length: int | None = None,
        **kwargs: Any,
    ) -> WarmupCosineLR:
        """Builds the scheduler from lengths in epochs; what ``convert_to_iter_based`` calls.

        Args:
            optimizer: The optimizer, or its wrapper.
            warmup_epochs: Length of the warm-up in epochs, whole or not.
            warmup_iters: The same in iterations. One of the two must be given.
            total_iters: Length of the run in iterations, for iteration-based loops; mmengine's
                ``end`` is not used then.
            begin: The epoch at which the warm-up begins.
            end: The epoch at which ``eta_min`` is reached.
            by_epoch: Must be True.
            epoch_length: Iterations per epoch.
            **kwargs: The other arguments of the constructor.

        Raises:
            ValueError: If ``by_epoch`` is False, a length is missing, or both warm-up lengths
                are given.
        """
        if not by_epoch:
            raise ValueError('convert_to_iter_based needs by_epoch=True, got by_epoch=False')
        if not epoch_length or epoch_length < 0:
            raise ValueError(f'epoch_length must be a positive integer, got {epoch_length!r}')
        if (warmup_epochs is None) == (warmup_iters is None):
            raise ValueError(
                'exactly one of warmup_epochs and warmup_iters must be given, got '
                f'warmup_epochs={warmup_epochs!r}, warmup_iters={warmup_iters!r}'
            )
        start = round(begin * epoch_length)
        if total_iters is not None:
            stop = total_iters
        elif end is not None:
            stop = round(end * epoch_length)
        else:
            raise ValueError('end (epochs) or total_iters must be given, got neither')
        warmup = warmup_iters if warmup_epochs is None else round(warmup_epochs * epoch_length)
        return cls(optimizer, warmup_iters=warmup or 0, begin=start, end=stop, by_epoch=False,
                   epoch_length=epoch_length, **kwargs)

    def _get_value(self) -> list[float]:
        return [
            warmup_cosine(self.last_step, base, self.warmup_iters, self.total_iters,
                          self._floor(base), self.flat_fraction) for base in self.base_values
        ]

    def _floor(self, base: float) -> float:
        return self.eta_min if self.eta_min_ratio is None else base * self.eta_min_ratio

    def state_dict(self) -> dict[str, Any]:
        """The step and the base LRs, but no setting of the schedule."""
        return {key: getattr(self, key) for key in _STATE}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues from a state, and sets the optimizer's LR to this schedule's at once.

        Args:
            state_dict: What `state_dict` returned. The state of another mmengine scheduler will
                do as well, so that a run begun without the trick can go on with it.

        Raises:
            ValueError: If the state is of a scheduler stepped per epoch, and the length of an
                epoch is not known.
        """
        step = state_dict['_global_step']
        if state_dict.get('by_epoch', False):
            if self.epoch_length is None:
                raise ValueError(
                    'the checkpoint holds a scheduler stepped per epoch, which an '
                    'iteration-based WarmupCosineLR cannot continue, got '
                    f'_global_step={step!r} epochs'
                )
            step *= self.epoch_length
        own = set(state_dict) == set(_STATE)
        self._global_step = step
        self.last_step = state_dict['last_step'] if own else max(step - self.begin, -1)
        self.base_values = list(state_dict['base_values'])
        if self.last_step >= 0:
            values = self._get_value()
            for group, value in zip(self.optimizer.param_groups, values, strict=True):
                group[self.param_name] = value
        self._last_value = [group[self.param_name] for group in self.optimizer.param_groups]

    def step(self) -> None:
        """Sets the LR of the coming iteration."""
        if self._global_step < 0:
            for index, base in enumerate(self.base_values):
                self._check_floor(index, base)
        super().step()


    def _check_floor(self, index: int, base: float) -> None:
        try:
            check_eta_min(self._floor(base), base)
        except ValueError as error:
            raise ValueError(
                f'{error}, of parameter group {index} (see paramwise_cfg): lower '
                'tricks.cosine_warmup.eta_min, or eta_min of WarmupCosineLR') from None


def _fit(warmup: int, total: int) -> int:
    """The warm-up that fits the run; warns where it is not the one given."""
    fitted = round(fitted_warmup(warmup, total))
    if fitted != warmup:
        print_log(
            f'The warm-up of {warmup} iterations would fill more than half of the run of {total}; '
            f'it is shortened to {fitted} iterations, a tenth of the run. Set '
            'tricks.cosine_warmup.warmup_iters or .warmup_epochs to choose its length.',
            logger='current', level=logging.WARNING,
        )
    return fitted
