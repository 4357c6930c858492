"""Counts how often strong steps were applied before and after the switch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...evidence import Finding, Training
from ...mm.switched_evidence import SwitchedEvidence

__all__ = ['CleanTailEvidence']

_PATIENCE = 20  # iterations in which a step must have been met


class CleanTailEvidence(SwitchedEvidence):
    """Before the switch steps must be applied, and none passed over; after it the reverse.

    Of a hook of the config's own the pipeline is read: from its epoch on no step that it is to end
    may be left in it, and persistent workers must have been started anew.

    Args:
        off_fraction: See `SwitchedEvidence`, also for what is counted.
        off_epochs: See there.
        own_from: The epoch from which a hook of the config's own ends the steps; None without one.
        own_steps: Class names of those steps.
    """

    def __init__(self, off_fraction: float = 0.0, off_epochs: int | None = None,
                 own_from: int | None = None, own_steps: Sequence[str] = ()) -> None:
        super().__init__(off_fraction, off_epochs)
        self.own_from = own_from
        self.own_steps = tuple(own_steps)
        self._workers: tuple[int, ...] = ()
        self._looks: list[str] | None = None

    def before_iteration(self, training: Training) -> None:
        """Looks also at the pipeline that a hook of the config's own leaves, once."""
        super().before_iteration(training)
        if self.own_from is None or self._looks is not None:
            return
        loader = training.loaders.get('train')
        workers = _persistent(loader)
        if training.epoch < self.own_from:
            self._workers = workers
            return
        left = _live(getattr(loader, 'dataset', None), self.own_steps)
        self._looks = [f'{", ".join(left)} still in the pipeline'] if left else []
        if workers and workers == self._workers:
            self._looks.append('the workers that began before it go on with the old pipeline')

    def switched(self, training: Training) -> bool:
        """True once, when the first iteration after the switch is there."""
        if self.own_from is None:
            return super().switched(training)
        due = self._looks is not None and not self._told
        self._told = self._told or due
        return due

    def _own_finding(self) -> Finding:
        looks = self._looks
        measured = 'not due yet' if looks is None else '; '.join(looks) or \
            f'no {" or ".join(self.own_steps)} in the pipeline since then'
        return Finding(
            f"{', '.join(self.own_steps)} off from epoch {self.own_from} by the config's own hook",
            None if looks is None else not looks, measured,
            {'own_from': self.own_from, 'steps': list(self.own_steps)})

    def kind(self) -> type:
        """`Switched`."""
        from .transform import Switched
        return Switched

    def finding(self, training: Training) -> Finding:
        """How often steps were applied before and after the switch."""
        if self.own_from is not None:
            return self._own_finding()
        counted = self.counted(training)
        before, after = counted.iterations
        applied, late, passed = (counted.first['applied'], counted.later['applied'],
                                 counted.later['skipped'])
        in_hand = 0 if self._phases.by_epoch else self._prefetched
        faults, live = [], True if applied or after and passed else None
        if before > _PATIENCE and not applied:
            faults.append('no step was applied before the switch')
        if counted.early:
            faults.append(f'steps were passed over {counted.early} times before the switch')
        if late:
            faults.append('images are still augmented after the switch')
        if after > _PATIENCE + in_hand and not (late or passed):
            faults.append('no image has passed the steps since the switch')
        words = [f'{len(self._steps)} steps, applied {applied} times before the switch']
        if after:
            words.append(f'{late} times after it, passed over {passed} times')
        return Finding(
            str(self._phases), False if faults else live, '; '.join([', '.join(words), *faults]),
            {'steps': len(self._steps), 'applied': applied,
             'passed_over_before_switch': counted.early, 'applied_after_switch': late,
             'passed_over_after_switch': passed, 'iterations': before,
             'iterations_after_switch': after})


def _live(dataset: Any, names: Sequence[str]) -> list[str]:
    """The steps of these classes in a data set's pipelines, less those that it skips by type."""
    from ...mm.parts import parts
    found = list(parts(dataset))
    skipped = {id(step) for part in found if getattr(part, '_skip_type_keys', None)
               for step, kind in zip(part.pipeline, part.pipeline_types, strict=False)
               if kind in part._skip_type_keys}
    return list(dict.fromkeys(
        type(part).__name__ for part in found if id(part) not in skipped
        and any(base.__name__ in names for base in type(part).__mro__)))


def _persistent(loader: Any) -> tuple[int, ...]:
    """The process numbers of a loader's workers that live through epochs."""
    if not getattr(loader, 'persistent_workers', False):
        return ()
    return tuple(worker.pid for worker in getattr(
        getattr(loader, '_iterator', None), '_workers', ()))
