"""A trick's parameters under timm: read on its side, or said to mean nothing there."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path

import pytest
from support.timm_train import settings_of

from tricks_plugin.plan import TRICKS
from tricks_plugin.timm.plan import plan_tricks

pytest.importorskip('timm')


def reason(tricks, name):
    return plan_tricks(settings_of(), frozenset(), tricks)[1][name].reason


def test_a_parameter_that_timm_has_no_use_for_is_told():
    assert reason({'mixup': {'alpha': 0.4, 'pad_value': 3.0, 'partner': 'dataset'}}, 'mixup') == (
        'mixup.partner means nothing under timm; mixup.pad_value means nothing under timm')
    assert reason({'mixup': {'alpha': 0.4}}, 'mixup') == ''
    assert reason({'ema': {'horizon': 0.1}}, 'ema').endswith('ema.horizon means nothing under timm')


@pytest.mark.parametrize('room', [trick for trick in TRICKS.in_order()
                                  if trick.side('timm', 'Flags') is not None],
                         ids=lambda room: room.name)
def test_every_parameter_is_read_on_timms_side_or_named_as_unused(room):
    flags = room.side('timm', 'Flags')
    read = set(re.findall(r'params\.(\w+)', Path(inspect.getfile(flags)).read_text()))
    names = {field.name for field in dataclasses.fields(room.Params)}
    assert names <= read | set(flags.unused) | set(flags.advice)
    assert not read & set(flags.unused) and set(flags.unused) <= names
