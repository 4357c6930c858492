"""The benchmark of mixup runs, and its figures follow from the times that it takes."""

from __future__ import annotations

import functools
import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('mmdet')

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def run(tmp_path_factory) -> tuple[dict, str]:
    file = tmp_path_factory.mktemp('benchmark') / 'mixup.json'
    done = subprocess.run(
        [sys.executable, str(ROOT / 'benchmarks' / 'mixup.py'), '--quick', '--json', str(file)],
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
        capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(file.read_text()), done.stdout


def numbers(found):
    """All numbers of a result, at any depth."""
    if isinstance(found, dict):
        found = list(found.values())
    if isinstance(found, list):
        return [number for one in found for number in numbers(one)]
    return [found] if isinstance(found, (int, float)) else []


@pytest.fixture()
def benchmark(monkeypatch):
    """The benchmark as a module."""
    monkeypatch.syspath_prepend(str(ROOT / 'benchmarks'))
    spec = importlib.util.spec_from_file_location('mixup_benchmark', ROOT / 'benchmarks/mixup.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ticks(*readings):
    """A clock that shows these numbers, one a look."""
    return functools.partial(next, iter(readings))


def ticks_of(seconds):
    """What a clock shows before and after each of these."""
    now = 0
    for one in seconds:
        yield now
        now += one
        yield now


@pytest.mark.slow
def test_every_section_is_measured_for_every_arm(run):
    result, text = run
    assert list(result) == ['blend', 'sample', 'pipeline']
    assert [row['dtype'] for row in result['blend']] == ['uint8', 'float32']
    assert set(result['blend'][0]['ms']) == {'blend', 'NumPy float formula', 'cv2.addWeighted',
                                             'two reads, one write', 'floor'}
    assert [(row['size'], row['dtype']) for row in result['sample']] == \
        [('96x64', 'uint8'), ('96x64', 'float32')]
    assert [row['config'].split('_')[0] for row in result['pipeline']] == ['yolov3', 'faster-rcnn']
    assert text.count('--- |\n') == 3


@pytest.mark.slow
def test_the_figures_are_numbers_and_ratios_follow_from_the_times(run):
    result, _ = run
    assert len(numbers(result)) > 60 and all(map(math.isfinite, numbers(result)))
    for row in result['blend']:
        assert row['to_floor']['floor'] == [1, 1, 1]
    for row in result['sample']:
        assert set(row['mixing_ms']) == {'mmdet MixUp', 'mmdet CachedMixUp',
                                         'GeometryPreservingMixUp'}
    for row in result['pipeline']:  # of one round each
        rate = row['ms']['without'] / row['ms']['with']
        assert row['rate_to_without'] == pytest.approx([rate] * 3)


def test_a_sample_s_row_by_hand(benchmark):
    row = benchmark.sample_row((96, 64), 'uint8', {
        'without': [1.0, 2.0, 4.0], 'without, weighted packing': [1.5, 2.5, 4.5],
        'GeometryPreservingMixUp': [2.0, 4.0, 5.0],  # 0.5, 1.5, 0.5 beyond its packing
        'mmdet MixUp': [3.0, 10.0, 10.0], 'mmdet CachedMixUp': [2.0, 4.0, 7.0]})
    assert row['ms'] == {'without': 2000, 'without, weighted packing': 2500,
                         'GeometryPreservingMixUp': 4000, 'mmdet MixUp': 10000,
                         'mmdet CachedMixUp': 4000}
    assert row['mixing_ms'] == {'mmdet MixUp': 6000, 'mmdet CachedMixUp': 2000,
                                'GeometryPreservingMixUp': 500}
    # 1.5, 2.5, 2 and 1, 1, 1.4; the quartiles lie halfway to the median
    assert row['whole_to_ours'] == {'mmdet MixUp': [1.75, 2.0, 2.25],
                                    'mmdet CachedMixUp': [1.0, 1.0, 1.2]}
    assert row['mixing_to_ours'] == {'mmdet MixUp': 12.0, 'mmdet CachedMixUp': 4.0}


def test_mixing_that_is_lost_in_the_noise_has_no_ratio(benchmark):
    times = dict.fromkeys(('without', 'GeometryPreservingMixUp', 'mmdet MixUp',
                           'mmdet CachedMixUp'), [2.0])
    row = benchmark.sample_row((96, 64), 'uint8', {**times, 'without, weighted packing': [2.5]})
    assert row['mixing_ms']['GeometryPreservingMixUp'] == -500
    assert row['mixing_to_ours'] == {'mmdet MixUp': None, 'mmdet CachedMixUp': None}


def test_rounds_begin_with_another_arm_each_and_the_first_is_not_counted(benchmark):
    order = []

    def arm(name, number):
        order.append(name)
        return 10 * number

    arms = {name: functools.partial(arm, name) for name in 'abc'}
    assert benchmark.rounds_of(arms, 2) == dict.fromkeys('abc', [10, 20])
    assert ''.join(order) == 'cab' + 'abc' + 'bca'


def test_samples_are_timed_by_all_arms_in_turn_with_equal_draws(benchmark):
    seen = []

    class Data:
        def __init__(self, name):
            self.name = name

        def __len__(self):
            return 2

        def __getitem__(self, index):
            seen.append((self.name, index, np.random.randint(1 << 30)))

    # Each sample takes a second in `a` and three in `b`; the first round of two warms up.
    clock = iter(ticks_of([1, 3, 3, 1, 1, 3] + [3, 1, 1, 3, 3, 1]))
    found = benchmark.sample_rounds(lambda: next(clock), {'a': Data('a'), 'b': Data('b')},
                                    range(3), 1)
    assert found == {'a': [1.0], 'b': [3.0]}
    names = [name for name, _, _ in seen]
    assert ''.join(names) == 'abbaab' + 'baabba'
    assert [index for _, index, _ in seen] == [0, 0, 1, 1, 0, 0] * 2
    draws = [draw for _, _, draw in seen]
    assert draws[::2] == draws[1::2] and len(set(draws)) == 6


def test_the_first_call_is_not_timed_and_the_others_are_shared_out(benchmark):
    calls = []
    assert benchmark.repeat(ticks(5.0, 13.0), 4, lambda: calls.append(1), 0) == 2.0
    assert len(calls) == 5


def test_a_transform_that_calls_itself_is_timed_once(benchmark):
    timed = benchmark.Timed(lambda depth: timed(depth - 1) if depth else 'done',
                            ticks(1.0, 2.0, 4.0, 8.0, 20.0, 23.0))
    assert timed(1) == 'done' and timed(0) == 'done'
    assert (timed.seconds, timed.calls) == (7.0 + 3.0, 2)
