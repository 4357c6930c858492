"""What a trick says of a config: the verdict that becomes a row of the plan."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

__all__ = ['STATUSES', 'Status', 'Verdict']

Status = Literal['applied', 'present', 'not_applicable', 'held_back']
STATUSES: tuple[Status, ...] = ('applied', 'present', 'not_applicable', 'held_back')


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a trick found in a config.

    Attributes:
        status: ``applied``; ``present`` (the config does it already, and is left alone);
            ``not_applicable`` (it means nothing there); ``held_back`` (a recipe's trick that would
            cost more than it brings in a run of this kind).
        reason: One sentence. Required unless the status is ``applied``.
        promise: The settings of the trick's measurement in the run, plain values that a config
            file can hold (the `Evidence` receives them as keywords); None where nothing is to
            be measured. What is promised is a rule, never a number that another data set or
            another learning rate would change.
    """

    status: Status
    reason: str = ''
    promise: dict[str, Any] | None = None

    @classmethod
    def applied(cls, reason: str = '', **promise: Any) -> Verdict:
        """The trick edited the config; the keywords go to its measurement."""
        return cls('applied', reason, promise)

    @classmethod
    def present(cls, reason: str, promise: dict[str, Any] | None = None) -> Verdict:
        """The config already does what the trick would do.

        Args:
            reason: Where and by what.
            promise: What the measurement needs to check that it is so; None if it cannot.
        """
        return cls('present', reason, promise)

    @classmethod
    def not_applicable(cls, reason: str) -> Verdict:
        """The trick means nothing here, or could not look into it: the reason says which."""
        return cls('not_applicable', reason)

    @classmethod
    def held_back(cls, reason: str) -> Verdict:
        """A recipe's trick would not pay in this run; the reason has the numbers."""
        return cls('held_back', reason)
