"""What an ablation is made of: subjects, their rungs, the runs, and what came of them."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

__all__ = ['Mode', 'Point', 'Run', 'RunStatus', 'Rung', 'Study', 'Subject', 'TrickCheck']

Mode = Literal['stack', 'single', 'leave-one-out', 'whole', 'arms']
RunStatus = Literal['waiting', 'running', 'finished', 'failed']


@dataclasses.dataclass(frozen=True)
class Rung:
    """One arm of an ablation: the same training with one more, one less or other tricks.

    Attributes:
        name: Short, unique within its subject, and fit for a folder's name, such as ``mixup``.
        label: For people, such as ``+ mixup``.
        tricks: The value of ``tricks``; None for the config as it is.
        reference: Name of the rung that it is compared with beside the first: in ``stack`` the
            rung before, in ``leave-one-out`` the one with all tricks, else the first. None for
            the first rung.
        plan: What each trick does here: rows as ``tricks plan --json`` prints them.
        diff: The effective config or flags against those of the first rung, as a unified diff.
        same_as: Name of an earlier rung whose training is the very same, since the tricks change
            nothing here; its runs stand for this rung's. The plan has the reason.
    """

    name: str
    label: str
    tricks: Any = None
    reference: str | None = None
    plan: tuple[dict[str, Any], ...] = ()
    diff: str = ''
    same_as: str | None = None


@dataclasses.dataclass(frozen=True)
class Subject:
    """A config, or a timm model with its flags, that the rungs are made of.

    Attributes:
        name: Unique, and fit for a folder's name.
        label: For people.
        rungs: In their order; the first is the subject as it is.
        parameters: Trainable and other parameters of the model; None where unknown.
        images_per_s: Inference throughput of the model on this machine, which no trick changes
            unless it changes the model; None where it was not measured.
    """

    name: str
    label: str
    rungs: tuple[Rung, ...]
    parameters: int | None = None
    images_per_s: float | None = None


@dataclasses.dataclass(frozen=True)
class Point:
    """The metric at one validation.

    Attributes:
        epoch: Epochs trained, counted from 1 after the first; None in iteration-based runs.
        iteration: Updates or iterations trained; None where the trainer does not say.
        seconds: Training time so far, without validation.
        value: The metric.
    """

    epoch: int | None
    iteration: int | None
    seconds: float
    value: float


@dataclasses.dataclass(frozen=True)
class TrickCheck:
    """What the evidence of a run said of a trick.

    Attributes:
        trick: Its name.
        live: Whether it was at work; None where the run could not tell.
        text: The finding, in words.
    """

    trick: str
    live: bool | None
    text: str = ''


@dataclasses.dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        subject: Name of the subject.
        rung: Name of the rung.
        seed: The seed, shared by the same run of every rung.
        status: Only ``finished`` counts.
        value: The metric of the last checkpoint, not of the best one.
        curve: The metric at every validation.
        seconds: Training time without validation; None where unknown.
        memory_mb: Peak memory: of the GPU where there is one, else of the process.
        checks: What the evidence said of each trick.
        error: Why it failed: the last line that tells.
        folder: Where its log and checkpoint lie, relative to the ablation's folder.
        code: Digest of the package's code that ran.
        machine: Processor or GPU, and threads.
        versions: Libraries by name.
    """

    subject: str
    rung: str
    seed: int
    status: RunStatus = 'waiting'
    value: float | None = None
    curve: tuple[Point, ...] = ()
    seconds: float | None = None
    memory_mb: float | None = None
    checks: tuple[TrickCheck, ...] = ()
    error: str = ''
    folder: str = ''
    code: str = ''
    machine: str = ''
    versions: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def dead(self) -> tuple[str, ...]:
        """Tricks that were not at work: a run with one is no result."""
        return tuple(check.trick for check in self.checks if check.live is False)

    @property
    def counts(self) -> bool:
        """Whether the run is a result."""
        return self.status == 'finished' and self.value is not None and not self.dead


@dataclasses.dataclass(frozen=True)
class Study:
    """An ablation as it stands: what is planned, and what is known so far.

    Attributes:
        command: The command line that made it.
        mode: How the rungs follow from the tricks.
        metric: Name of the metric, such as ``coco/bbox_mAP``.
        greater: Whether more is better.
        unit: Unit of the metric as the tables print it, such as ``%`` or ``mAP points``.
        factor: What the metric is multiplied with to have that unit: 100 for an mAP of 0 to 1.
        seeds: The seeds, equal for all rungs.
        subjects: What is trained.
        runs: Every run, whatever came of it.
        environment: Machine and libraries, as rows of a table.
        notes: Sentences that belong under the table.
    """

    command: str
    mode: Mode
    metric: str
    greater: bool
    unit: str
    factor: float
    seeds: tuple[int, ...]
    subjects: tuple[Subject, ...]
    runs: tuple[Run, ...]
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def pairs(self) -> bool:
        """Whether several subjects have the same two rungs, without and with: a model chart."""
        names = {tuple(rung.name for rung in one.rungs) for one in self.subjects}
        return (self.mode in ('whole', 'arms') and len(self.subjects) > 1
                and len(names) == 1 and len(names.pop()) == 2)

    def runs_of(self, subject: str, rung: str) -> dict[int, Run]:
        """The runs of a rung, by seed."""
        return {run.seed: run for run in self.runs
                if (run.subject, run.rung) == (subject, rung)}

    def to_dict(self) -> dict[str, Any]:
        """Plain, for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Study:
        """The study that :meth:`to_dict` wrote.

        Args:
            content: As read from JSON.

        Raises:
            KeyError, TypeError: If parts are missing or unknown.
        """
        subjects = tuple(
            Subject(**{**one, 'rungs': tuple(
                Rung(**{**rung, 'plan': tuple(rung['plan'])}) for rung in one['rungs'])})
            for one in content['subjects'])
        runs = tuple(
            Run(**{**one, 'curve': tuple(Point(**point) for point in one['curve']),
                   'checks': tuple(TrickCheck(**check) for check in one['checks'])})
            for one in content['runs'])
        return cls(**{**content, 'subjects': subjects, 'runs': runs,
                      'seeds': tuple(content['seeds']), 'notes': tuple(content['notes'])})
