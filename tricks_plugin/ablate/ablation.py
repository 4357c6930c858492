"""A planned ablation, whoever trains."""

from __future__ import annotations

import dataclasses
from typing import Any

from .engine import Job
from .identity import code_digest
from .planned import Planned, Rungs
from .study import Study

__all__ = ['Ablation', 'idle_notes', 'jobs_of']


@dataclasses.dataclass(frozen=True)
class Ablation:
    """A planned ablation.

    Attributes:
        study: It, without runs.
        planned: The rungs of every subject, by its name.
        metric: The metric that counts; None where the first validation decides.
        launcher: Settings of the cluster's jobs.
        versions: Of the libraries that train.
        greater: Whether more of the metric is better, where the user says it; None leaves it to
            the metric's name.
        idle: By the subject's name, the rungs that are left out since they would train the very
            same as another.
    """

    study: Study
    planned: dict[str, list[Planned]]
    metric: str | None
    launcher: dict[str, Any]
    versions: dict[str, str]
    greater: bool | None = None
    idle: dict[str, list[str]] = dataclasses.field(default_factory=dict)

    def to_plan(self) -> dict[str, Any]:
        """As `Folder.keep_plan` takes it."""
        return {
            'study': self.study.to_dict(),
            'identity': {name: {one.rung.name: one.settings for one in rungs}
                         for name, rungs in self.planned.items()},
            'code': code_digest(), 'greater': self.greater,
            'idle': self.idle}


def jobs_of(ablation: Ablation) -> list[Job]:
    """Every run, seed by seed, so that early tables compare whole seeds."""
    return [Job(name, one, seed) for seed in ablation.study.seeds
            for name, rungs in ablation.planned.items()
            for one in rungs if one.rung.same_as is None]


def idle_notes(found: list[Rungs]) -> tuple[str, ...]:
    """Sentences on the tricks that have no rung."""
    return tuple(f'{reason}: it has no rung{f" of {one.subject.name}" if len(found) > 1 else ""}.'
                 for one in found for reason in one.idle.values())
