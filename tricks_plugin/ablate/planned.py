"""A planned rung: what its runs need beside the rung itself."""

from __future__ import annotations

import dataclasses

from ..plan import TRICKS
from ..plan.errors import TrickError
from .study import Mode, Rung, Subject

__all__ = ['Planned', 'Rungs', 'with_stand_ins', 'without_idle']


@dataclasses.dataclass(frozen=True)
class Planned:
    """A rung with what its runs need.

    Attributes:
        rung: The rung.
        settings: Digest of the settings that decide its results, the seed left out.
        program: The module that runs it.
        content: What that program reads: the text of the effective config, or settings as JSON.
        promised: The tricks that were promised a measurement.
        suffix: Of the file that holds the content.
        speed: The module that measures the throughput of inference; empty for none.
    """

    rung: Rung
    settings: str
    program: str
    content: str
    promised: tuple[str, ...] = ()
    suffix: str = '.py'
    speed: str = ''


def with_stand_ins(planned: list[Planned]) -> list[Planned]:
    """The rungs, each that trains the very same as an earlier one with that one's name.

    Args:
        planned: The rungs of a subject, in their order.
    """
    seen: dict[str, str] = {}
    found = []
    for one in planned:
        same = seen.setdefault(one.settings, one.rung.name)
        if same != one.rung.name:
            one = dataclasses.replace(one, rung=dataclasses.replace(one.rung, same_as=same))
        found.append(one)
    return found


@dataclasses.dataclass(frozen=True)
class Rungs:
    """A subject's rungs, and those that it has not.

    Attributes:
        subject: The subject with the rungs that are left.
        planned: They, with what their runs need.
        idle: Name of a rung that is left out to the sentence that says why.
    """

    subject: Subject
    planned: list[Planned]
    idle: dict[str, str] = dataclasses.field(default_factory=dict)


def without_idle(subject: Subject, planned: list[Planned], mode: Mode) -> Rungs:
    """Leaves out the rungs that train the very same as the one that they are compared with.

    They would be compared as if chance were a difference. What was compared with one of them is
    compared with what that one equals. A subject with and without all tricks keeps both.

    Args:
        subject: The subject.
        planned: Its rungs, the first as it is.
        mode: How they follow from the tricks.

    Raises:
        TrickError: If the first rung alone is left.
    """
    if mode == 'whole':
        return Rungs(subject, planned)
    known = {one.rung.name: one for one in planned}
    kept, idle, instead = planned[:1], {}, dict[str, str]()
    for one in planned[1:]:
        reference = str(one.rung.reference)
        reference = instead.get(reference, reference)
        if one.settings != known[reference].settings:
            kept.append(dataclasses.replace(one, rung=dataclasses.replace(
                one.rung, reference=reference)))
            continue
        instead[one.rung.name] = reference
        if one.rung.name != 'all':
            idle[one.rung.name] = _idle_reason(one.rung, known)
    if len(kept) == 1:
        raise TrickError(f'{subject.label}: no trick changes anything in these runs, so there is '
                         f'nothing to compare: {"; ".join(idle.values())}')
    return Rungs(dataclasses.replace(subject, rungs=tuple(one.rung for one in kept)), kept, idle)


def _idle_reason(rung: Rung, known: dict[str, Planned]) -> str:
    """Why a trick has no rung, from its verdict."""
    name = rung.name.removeprefix('without_')
    rows = rung.plan if name == rung.name or 'all' not in known else known['all'].rung.plan
    row = next((row for row in rows if row['name'] == name), None)
    if row is None:
        return f'{name} changes nothing here (its runs have the settings of another rung)'
    verdict = f'{row["status"].replace("_", " ")}: {row["reason"]}'
    if row['status'] == 'applied':
        verdict = TRICKS.get(name).alone or 'its runs have the settings of another rung'
    return f'{name} changes nothing here ({verdict})'
