"""The benchmark of training steps runs, and reports what it says."""

from __future__ import annotations

import importlib.util
import math
import sys
import types

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture()
def step(root):
    """The benchmark as a module."""
    spec = importlib.util.spec_from_file_location('step_benchmark', root / 'benchmarks/step.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_a_quick_run_reports_every_arm_as_a_ratio(step, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['step.py', '--quick'])
    results = step.measure(step.parse())
    assert set(results) == {'amp', 'ema', 'channels_last', 'mixup', 'label_smoothing'}
    for row in results.values():
        assert set(row) == {'plain', 'trick', 'ratio', 'low', 'high', 'pairs'}
        assert row['pairs'] == 3 and all(math.isfinite(value) for value in row.values())


def test_neighbouring_steps_are_paired_in_alternating_order_after_two_warm_up_pairs(
        step, monkeypatch):
    # the clock says 1, 2, 3, ... from step to step
    turns = iter(range(1, 11))
    order = []
    monkeypatch.setattr(step, 'seconds', lambda run, batch, args: order.append(run) or next(turns))
    pairs = step.pairs_of('plain', 'other', types.SimpleNamespace(size=32, batch_size=1, steps=3))
    assert order == ['other', 'plain', 'plain', 'other'] * 2 + ['other', 'plain']
    assert pairs == [(6, 5), (7, 8), (10, 9)]


def test_the_summary_takes_ratios_within_pairs(step):
    # a machine that becomes ten times slower halfway: medians mislead, pairs do not
    found = step.summary([(1.0, 1.25), (1.2, 1.5), (10.0, 12.5)])
    assert found == dict(plain=1.2, trick=1.5, ratio=1.25, low=1.25, high=1.25, pairs=3)


def test_wrong_arguments_are_refused(step, monkeypatch, capsys):
    for wrong, words in ((['--arms', 'emma'], "unknown arms: ['emma']"),
                         (['--steps', '1'], '--steps must be >= 2')):
        monkeypatch.setattr(sys, 'argv', ['step.py', *wrong])
        with pytest.raises(SystemExit):
            step.parse()
        assert words in capsys.readouterr().err
