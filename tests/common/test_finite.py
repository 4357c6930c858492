"""Losses that are no numbers: rows of them are counted, and JSON stays JSON."""

from __future__ import annotations

import json

import pytest
import torch

from tricks_plugin.common.files import json_safe
from tricks_plugin.common.finite import LIMIT, NonFinite, Streak

NAN, INF = float('nan'), float('inf')


def watched(losses: list[float], limit: int = 3) -> Streak | None:
    watch = NonFinite(limit)
    for loss in losses:
        watch.add(torch.tensor(loss))
    return watch.found()


@pytest.mark.parametrize(('losses', 'found'), [
    ([], None),
    ([1.0, NAN, INF, 1.0, NAN, NAN], None),
    ([1.0, NAN, -INF, NAN], Streak(1, 3)),
    ([NAN] * 5, Streak(0, 5)),
    # A row that is over by the time it is read is still told, and the longest one.
    ([NAN, NAN, NAN, 2.0, 2.0, INF, NAN, NAN, NAN, 1.0], Streak(5, 4)),
])
def test_rows_are_counted(losses: list[float], found: Streak | None) -> None:
    assert watched(losses) == found


@pytest.mark.parametrize(('losses', 'found'), [
    ([], None), ([NAN, 1.0], None), ([1.0, NAN], Streak(1, 1)),
    ([NAN, 2.0, INF, NAN], Streak(2, 2)),
])
def test_the_row_at_the_end_is_told_whatever_its_length(
    losses: list[float], found: Streak | None,
) -> None:
    watch = NonFinite(limit=3)
    for loss in losses:
        watch.add(torch.tensor(loss))
    assert watch.at_the_end() == found


def test_one_value_of_a_vector_counts() -> None:
    watch = NonFinite(limit=1)
    watch.add(torch.tensor([1.0, NAN]))
    assert watch.found() == Streak(0, 1) and LIMIT == 10
    with pytest.raises(ValueError, match='limit must be 1 or more, got 0'):
        NonFinite(0)


def test_json_holds_no_nan() -> None:
    safe = json_safe({'loss': NAN, 'rows': [(1, INF), {'top1': 2.5}], 'name': 'x', 'on': True})
    assert json.loads(json.dumps(safe, allow_nan=False)) == {
        'loss': None, 'rows': [[1, None], {'top1': 2.5}], 'name': 'x', 'on': True}
