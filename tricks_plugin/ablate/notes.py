"""What a reader of an ablation's table must know of its runs, in sentences."""

from __future__ import annotations

import json
from typing import Any

from .study import Study

__all__ = ['notes_of']


def notes_of(study: Study, results: dict[tuple[str, str, int], dict[str, Any]]) -> list[str]:
    """What the table's reader must know of the runs."""
    notes = []
    for subject in study.subjects:
        for rung in subject.rungs:
            where = rung.name if len(study.subjects) == 1 else f'{rung.name} of {subject.name}'
            if rung.same_as is not None:
                rows = [row for row in rung.plan
                        if row['name'] == rung.name and row['status'] != 'applied']
                reason = f': {rows[0]["reason"]}' if rows and rows[0]['reason'] else ''
                notes.append(f'{where} changes nothing here, so the runs of {rung.same_as} stand '
                             f'for it{reason}.')
                continue
            notes += _pairing(where, [
                (seed, results[subject.name, rung.name, seed],
                 results[subject.name, subject.rungs[0].name, seed]) for seed in study.seeds
                if (subject.name, rung.name, seed) in results
                and (subject.name, subject.rungs[0].name, seed) in results])
    for what, words in (('code', "versions of this package's code"), ('machine', 'machines')):
        found = sorted({str(one[what]) for one in results.values()})
        if len(found) > 1:
            notes.append(f'The runs are of different {words}: {"; ".join(found)}.')
    found = sorted({json.dumps(one['versions'], sort_keys=True) for one in results.values()})
    if len(found) > 1:
        notes.append(f'The runs are of different library versions: {"; ".join(found)}.')
    if len(study.seeds) < 2:
        notes.append('One seed gives no interval: nothing here tells a gain from chance.')
    return notes


def _pairing(where: str, pairs: list[tuple[int, dict[str, Any], dict[str, Any]]]) -> list[str]:
    """Whether the runs of a rung began as those of the first."""
    notes = []
    for key, words in (('weights', 'from other weights than'),
                       ('order', 'with other images, or another order of them, than')):
        odd = [str(seed) for seed, one, first in pairs if one[key] != first[key]]
        if odd:
            notes.append(f'{where} begins {words} the first rung (seed {", ".join(odd)}): its '
                         'differences are not paired in that respect.')
    return notes
