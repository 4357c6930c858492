"""The benchmark of reading images runs, and takes its ratios within parts of an epoch."""

from __future__ import annotations

import importlib.util
import math
import sys

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture()
def data(root, monkeypatch):
    """The benchmark as a module; its backend is gone after the test."""
    monkeypatch.syspath_prepend(str(root / 'benchmarks'))
    monkeypatch.delitem(sys.modules, 'data_ways', raising=False)
    from mmengine.fileio.backends import backends
    spec = importlib.util.spec_from_file_location('data_benchmark', root / 'benchmarks/data.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del backends['slow'], backends['held']


@pytest.mark.slow
def test_a_quick_run_reports_every_way(data, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['data.py', '--quick', '--sources', 'local', 'disk'])
    results = data.measure(data.parse())
    assert set(results['sources']) == {'local', 'disk'}
    measured = [name for name in data.WORDS if name != 'litdata']
    assert set(results['memory']) == set(measured)
    for found in results['sources'].values():
        assert list(found) == measured
        for row in found.values():
            assert set(row) == {'first', 'second_to_dictionary', 'later', 'to_plain',
                                'to_dictionary', 'pipeline', 'pipeline_to_plain',
                                'pipeline_to_dictionary'}
            assert all(math.isfinite(value) and value > 0 for value in row.values())
    # The disk sleeps 8 ms and more for each of the images that are read from it.
    assert results['sources']['disk']['plain']['later'] < 125
    assert results['sources']['disk']['encoded']['first'] < 125


def test_ratios_are_taken_within_parts(data):
    # A machine that becomes ten times slower halfway: medians mislead, parts do not.
    later = {'plain': [4.0, 5.0, 40.0], 'dict_bytes': [2.0, 2.5, 20.0],
             'dict_arrays': [1.0, 1.25, 10.0], 'encoded': [2.5, 3.125, 25.0],
             'decoded': [1.6, 2.0, 16.0]}
    within = {name: [1 + time for time in times] for name, times in later.items()}
    second = {'plain': [9.0], 'dict_bytes': [3.0], 'dict_arrays': [2.0], 'encoded': [4.0],
              'decoded': [8.0]}
    found = data.summary(dict.fromkeys(later, 8.0), second, later, within)
    assert found['encoded'] == dict(
        first=0.125, second_to_dictionary=0.75, later=1 / 3.125, to_plain=1.6,
        to_dictionary=0.8, pipeline=1 / 4.125,
        # 5/3.5, 6/4.125, 41/26 and 3/3.5, 3.5/4.125, 21/26: the one in the middle.
        pipeline_to_plain=6 / 4.125, pipeline_to_dictionary=3.5 / 4.125)
    assert found['decoded']['second_to_dictionary'] == 0.25
    assert found['decoded']['to_plain'] == 2.5 and found['decoded']['to_dictionary'] == 0.625


def test_wrong_arguments_are_refused(data, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['data.py', '--rounds', '1'])
    with pytest.raises(SystemExit):
        data.parse()
    assert '--rounds >= 2' in capsys.readouterr().err
