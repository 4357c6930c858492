"""Counts how often strong steps were applied before and after the switch."""

from __future__ import annotations

from ...evidence import Finding, Training
from ...mm.switched_evidence import SwitchedEvidence

__all__ = ['CleanTailEvidence']

_PATIENCE = 20  # iterations in which a step must have been met


class CleanTailEvidence(SwitchedEvidence):
    """Before the switch steps must be applied, and none passed over; after it the reverse.

    See `SwitchedEvidence` for the arguments and what is counted.
    """

    def kind(self) -> type:
        """`Switched`."""
        from .transform import Switched
        return Switched

    def finding(self, training: Training) -> Finding:
        """How often steps were applied before and after the switch."""
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
