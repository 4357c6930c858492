"""What a plan knows of the run, before it begins."""

from __future__ import annotations

import dataclasses
from typing import Any

__all__ = ['RunFacts']


@dataclasses.dataclass(frozen=True)
class RunFacts:
    """The run that a plan is made for; None for what the settings do not tell.

    Attributes:
        processes: Training processes.
        batch_size: Images per batch of one process.
        accumulation: Batches that an update averages over.
        epochs: Length of an epoch-based run.
        iterations: Length of an iteration-based run.
    """

    processes: int = 1
    batch_size: int | None = None
    accumulation: int | None = None
    epochs: int | None = None
    iterations: int | None = None

    @property
    def effective_batch(self) -> int | None:
        """Images per update."""
        if self.batch_size is None or self.accumulation is None:
            return None
        return self.batch_size * self.processes * self.accumulation

    def to_dict(self) -> dict[str, Any]:
        """As ``tricks plan --json`` prints it under ``run``."""
        return {**dataclasses.asdict(self), 'effective_batch': self.effective_batch}
