"""How many entries values of any form have."""

from __future__ import annotations

import dataclasses
import types

import numpy as np
import pytest
import torch

from tricks_plugin.common.values import counts, entries


@dataclasses.dataclass
class Pair:
    left: list
    right: torch.Tensor


@pytest.mark.parametrize('value, number', [
    (None, None), (3.5, None), ('abc', None), (b'abc', None), (np.float32(1), None),
    (np.array(1.0), None), (torch.tensor(1.0), None), ([], 0), ((1, 2), 2),
    (np.zeros((4, 3)), 4), (torch.zeros(2, 5), 2), ({'a': [1, 2], 'b': np.zeros(2)}, 2),
    ({'a': [1, 2], 'b': 1.0}, None), ({}, None)])
def test_entries(value, number):
    assert entries(value) == number


@pytest.mark.parametrize('value, numbers', [
    (3.5, set()), ('abc', set()), (['abc', 'de'], {2}), (np.zeros((4, 3)), {4}),
    ([np.zeros(5), np.zeros(7)], {2, 5, 7}), ({'a': [1, 2], 'b': 1.0, 'c': {'d': (1,)}}, {2, 1}),
    (Pair([1, 2, 3], torch.zeros(4)), {3, 4}), (types.SimpleNamespace(a=(1, 2)), {2}),
    ([{'a': [1, 2, 3]}], {1, 3})])
def test_counts_look_into_lists_dicts_and_attributes(value, numbers):
    assert counts(value) == numbers
