"""The digits data set: the same bytes each time, valid, and never half there."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip('sklearn')
pytest.importorskip('cv2')

pytestmark = pytest.mark.slow

TOOL = Path(__file__).resolve().parents[2] / 'examples' / 'make_digits.py'
SMALL = ['--train', '12', '--val', '6']


@pytest.fixture(scope='module')
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location('make_digits', TOOL)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope='module')
def digits(tool: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp('made') / 'digits'
    assert tool.main(['--out', str(out), *SMALL]) == 0
    return out


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes()
            for path in sorted(root.rglob('*')) if path.is_file()}


def load(root: Path, split: str) -> dict:
    return json.loads((root / 'annotations' / f'{split}.json').read_text())


def error_of(tool: ModuleType, capsys: pytest.CaptureFixture, *arguments: str) -> str:
    with pytest.raises(SystemExit) as exit_:
        tool.main(list(arguments))
    assert exit_.value.code == 2
    text = capsys.readouterr().err
    assert text.count('\n') == 1 and text.startswith('make_digits.py: error: ')
    return text


def test_one_seed_gives_the_same_bytes_and_another_does_not(
        tool: ModuleType, digits: Path, tmp_path: Path) -> None:
    tool.main(['--out', str(tmp_path / 'again'), *SMALL])
    tool.main(['--out', str(tmp_path / 'other'), *SMALL, '--seed', '1'])
    expected, other = contents(digits), contents(tmp_path / 'other')
    assert contents(tmp_path / 'again') == expected
    assert len(expected) == 12 + 6 + 2 + 1
    assert set(other) == set(expected)
    assert not set(other.values()) & set(expected.values())


def test_more_images_leave_the_first_ones_as_they_were(
        tool: ModuleType, digits: Path, tmp_path: Path) -> None:
    tool.main(['--out', str(tmp_path / 'more'), '--train', '13', '--val', '6'])
    assert (tmp_path / 'more/train/000011.jpg').read_bytes() == (
        digits / 'train/000011.jpg').read_bytes()


@pytest.mark.parametrize(('split', 'count'), [('train', 12), ('val', 6)])
def test_annotations_are_valid_coco(digits: Path, split: str, count: int) -> None:
    import cv2
    coco = pytest.importorskip('pycocotools.coco').COCO(digits / f'annotations/{split}.json')
    assert [c['name'] for c in coco.loadCats(coco.getCatIds())] == list('0123456789')
    assert len(coco.getImgIds()) == count
    ids = [a['id'] for a in coco.dataset['annotations']]
    assert len(set(ids)) == len(ids) and 0 not in ids
    sizes = set()
    for image in coco.loadImgs(coco.getImgIds()):
        pixels = cv2.imread(str(digits / split / image['file_name']))
        assert pixels.shape == (image['height'], image['width'], 3)
        assert all(160 <= side <= 192 for side in pixels.shape[:2])
        sizes.add(pixels.shape)
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=image['id']))
        assert 1 <= len(annotations) <= 8
        for annotation in annotations:
            x, y, w, h = annotation['bbox']
            assert x >= 0 and y >= 0 and w > 0 and h > 0
            assert x + w <= image['width'] and y + h <= image['height']
            assert annotation['area'] == w * h and annotation['iscrowd'] == 0
    assert len(sizes) > count / 2


def test_a_box_ends_where_the_ink_ends(
        tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.datasets import load_digits
    scans = load_digits()
    monkeypatch.setattr(tool, 'draw_background', lambda rng, h, w: np.full(
        (h, w, 3), 100, np.float32))
    monkeypatch.setattr(tool, 'draw_ink', lambda rng, ground: np.full(3, 200, np.float32))
    image, placed = tool.draw_image(np.random.default_rng(3), scans.images, scans.target,
                                    np.arange(100), 160)
    assert len(placed) >= 3
    # An opacity of 0.25 between 100 and 200 is 125.
    ink = image[..., 0] >= 125
    for item in placed:
        x, y, w, h = item['bbox']
        inside = ink[y:y + h, x:x + w]
        assert inside[0].any() and inside[-1].any()
        assert inside[:, 0].any() and inside[:, -1].any()
        ink[y:y + h, x:x + w] = False
        assert item['category_id'] == scans.target[item['source']]
    assert not ink.any()


def test_a_scan_is_enlarged_where_its_ink_lies(tool: ModuleType) -> None:
    scan = np.zeros((8, 8))
    scan[2:6, 3:5] = 16  # 4 rows and 2 columns of 8, at 40 x 24 px: 20 x 6 px
    alpha = tool.enlarge(scan, 40, 24)
    assert abs(alpha.shape[0] - 20) <= 4 and abs(alpha.shape[1] - 6) <= 4
    assert alpha.min() >= 0 and alpha.max() == 1


def test_train_and_val_share_no_source_digit(tool: ModuleType, digits: Path) -> None:
    from sklearn.datasets import load_digits
    labels = load_digits().target
    train, val = tool.split_sources(labels, seed=0)
    assert not set(train) & set(val)
    assert sorted([*train, *val]) == list(range(1797))
    assert set(labels[val]) == set(labels[train]) == set(range(10))
    used = {split: {a['source'] for a in load(digits, split)['annotations']}
            for split in ('train', 'val')}
    assert used['train'] <= set(train) and used['val'] <= set(val)


def test_no_digit_hides_more_than_a_fifth_of_another(tool: ModuleType) -> None:
    rng = np.random.default_rng(0)
    assert tool.find_place(rng, [[0, 0, 40, 40]], (40, 40), (41, 10)) is None
    assert tool.find_place(rng, [[0, 0, 40, 40]], (40, 40), (20, 20)) is None
    x, y, w, h = tool.find_place(rng, [[0, 0, 40, 40]], (40, 80), (40, 40))
    assert (w, h) == (40, 40) and 32 <= x <= 40 and y == 0


@pytest.mark.parametrize(('option', 'value', 'rule'), [
    ('--train', '0', '--train must lie in [1, 100000], received 0'),
    ('--val', '-3', '--val must lie in [1, 100000], received -3'),
    ('--size', '63', '--size must lie in [64, 1024], received 63'),
    ('--seed', '-1', '--seed must lie in [0, 4294967295], received -1'),
    ('--size', 'wide', "invalid int value: 'wide'"),
])
def test_a_wrong_argument_is_named_in_one_line(
        tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture,
        option: str, value: str, rule: str) -> None:
    assert rule in error_of(tool, capsys, '--out', str(tmp_path / 'out'), option, value)
    assert not (tmp_path / 'out').exists()


def test_out_is_demanded(tool: ModuleType, capsys: pytest.CaptureFixture) -> None:
    assert '--out' in error_of(tool, capsys)


def test_what_others_wrote_is_left_alone(
        tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / 'thesis.txt').write_text('years')
    assert str(tmp_path) in error_of(tool, capsys, '--out', str(tmp_path), *SMALL)
    assert contents(tmp_path) == {'thesis.txt': b'years'}


def test_a_second_call_touches_nothing(tool: ModuleType, tmp_path: Path) -> None:
    out = tmp_path / 'digits'
    settings = tool.Settings(train=3, val=2)
    assert tool.make_digits(out, settings) is True
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob('*')}
    assert tool.make_digits(out, settings) is False
    assert {path: path.stat().st_mtime_ns for path in out.rglob('*')} == stamps
    assert tool.make_digits(out, tool.Settings(train=3, val=2, seed=5)) is True
    assert list(tmp_path.iterdir()) == [out]


def test_another_version_of_the_program_builds_anew(
        tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tool.Settings(train=3, val=2)
    tool.make_digits(tmp_path / 'digits', settings)
    newer = tmp_path / 'newer.py'
    newer.write_text(TOOL.read_text() + '# changed')
    monkeypatch.setattr(tool, '__file__', str(newer))
    assert tool.make_digits(tmp_path / 'digits', settings) is True


@pytest.mark.parametrize('damage', [
    lambda out: (out / 'train' / '000001.jpg').unlink(),
    lambda out: (out / 'val' / '000000.jpg').write_bytes(b'\xff\xd8'),
    lambda out: (out / 'annotations' / 'train.json').write_text('{}'),
], ids=['image gone', 'image cut short', 'annotations changed'])
def test_a_damaged_data_set_is_built_anew(tool: ModuleType, tmp_path: Path, damage) -> None:
    settings = tool.Settings(train=3, val=2)
    tool.make_digits(tmp_path / 'digits', settings)
    sound = contents(tmp_path / 'digits')
    damage(tmp_path / 'digits')
    assert tool.make_digits(tmp_path / 'digits', settings) is True
    assert contents(tmp_path / 'digits') == sound


def test_an_error_half_way_leaves_no_trace(
        tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tool.Settings(train=3, val=2)
    tool.make_digits(tmp_path / 'digits', settings)
    before = contents(tmp_path / 'digits')

    def fail(*_: object) -> None:
        raise OSError('disk full')

    monkeypatch.setattr(tool, 'describe', fail)
    for out in ('digits', 'fresh'):
        with pytest.raises(OSError, match='disk full'):
            tool.make_digits(tmp_path / out, tool.Settings(train=4, val=2))
    assert [path.name for path in tmp_path.iterdir()] == ['digits']
    assert contents(tmp_path / 'digits') == before


@pytest.mark.slow
def test_a_killed_process_leaves_nothing_under_the_name(tool: ModuleType, tmp_path: Path) -> None:
    out = tmp_path / 'digits'
    process = subprocess.Popen(
        [sys.executable, str(TOOL), '--out', str(out), '--train', '100000'],
        env=dict(os.environ, OMP_NUM_THREADS='1'))
    deadline = time.monotonic() + 300  # no measurement: a guard against hanging
    while not list(tmp_path.glob('.digits.*/new/train/*.jpg')):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists()
    assert tool.make_digits(out, tool.Settings(train=3, val=2)) is True
    assert len(load(out, 'train')['images']) == 3
