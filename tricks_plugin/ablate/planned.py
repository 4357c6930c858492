"""A planned rung: what its runs need beside the rung itself."""

from __future__ import annotations

import dataclasses

from .study import Rung

__all__ = ['Planned', 'with_stand_ins']


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
