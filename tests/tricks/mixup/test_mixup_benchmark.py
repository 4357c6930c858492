"""The benchmark of mixup runs, and its figures are of a kind that can be believed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('mmdet')

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope='module')
def run(tmp_path_factory) -> tuple[dict, str]:
    file = tmp_path_factory.mktemp('benchmark') / 'mixup.json'
    done = subprocess.run(
        [sys.executable, str(ROOT / 'benchmarks' / 'mixup.py'), '--quick', '--json', str(file)],
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
        capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(file.read_text()), done.stdout


def ordered(ratio: list[float]) -> bool:
    low, middle, high = ratio
    return 0 < low <= middle <= high < 1000


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


def test_ratios_are_positive_and_follow_from_the_times(run):
    result, _ = run
    for row in result['blend']:
        assert row['to_floor']['floor'] == [1, 1, 1] and all(map(ordered, row['to_floor'].values()))
        # 96 x 64 pixels: three canvases' bytes cannot be moved at 1000 GB/s
        assert row['ms']['floor'] > 3 * 96 * 64 * 3 * (4 if row['dtype'] == 'float32' else 1) / 1e9
    for row in result['sample']:
        assert all(map(ordered, row['whole_to_ours'].values()))
        # it decodes at least two images more
        assert row['whole_to_ours']['mmdet MixUp'][1] > 1.2
        assert row['mixing_ms']['mmdet MixUp'] > 0
    for row in result['pipeline']:
        assert ordered(row['rate_to_without']) and row['rate_to_without'][1] < 3
        assert row['rate_to_without'][1] == pytest.approx(row['ms']['without'] / row['ms']['with'])
        assert 0 < row['step_ms']['mixing'] < row['ms']['with']
