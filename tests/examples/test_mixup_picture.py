"""The picture of mixup: of the promised size, with blended pixels, the same bytes each time."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

cv2 = pytest.importorskip('cv2')
pytest.importorskip('matplotlib')

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        'mixup_picture', ROOT / 'examples' / 'mixup_picture.py')
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def read(path: Path) -> np.ndarray:
    return cv2.imread(str(path))[..., ::-1]


def test_the_picture_has_its_size_and_blended_pixels_at_the_places_it_promises(tool, tmp_path):
    out, again = tmp_path / 'a.png', tmp_path / 'deeper' / 'b.png'
    assert tool.main(['--out', str(out)]) == tool.main(['--out', str(again)]) == 0
    assert out.read_bytes() == again.read_bytes() and out.stat().st_size < 150_000
    picture = read(out)
    # margins 30, 380 wide, 56, 250 wide, 56, 380 wide; 84 above, the canvas of 340, 44 below
    assert picture.shape == (468, 1182, 3)
    first, second, canvas = (picture[84 + 20, left + 40] for left in (30, 466, 772))
    assert np.abs(0.6 * first + 0.4 * second - canvas).max() <= 1
    assert (canvas != first).all() and (canvas != second).all()
    # right of the second image the first one alone, and neither in the corner
    assert np.abs(0.6 * picture[84 + 20, 30 + 300] - picture[84 + 20, 772 + 300]).max() <= 1
    assert picture[84 + 300, 772 + 300].tolist() == [0, 0, 0]


def test_the_picture_in_the_documentation_is_the_tool_s(tool, tmp_path):
    kept = ROOT / 'docs' / 'mixup.png'
    assert tool.main(['--out', str(tmp_path / 'new.png')]) == 0
    kept_picture, new = read(kept), read(tmp_path / 'new.png')
    assert kept.stat().st_size < 150_000 and kept_picture.shape == new.shape
    # the lettering differs a little between versions of matplotlib
    assert np.mean(kept_picture != new) < 0.02


def test_boxes_keep_their_places_and_carry_their_image_s_share(tool):
    panels = tool.layout(tool.street(), tool.evening(), 0.25)
    assert panels[0].boxes.tolist() == panels[2].boxes[:2].tolist()
    assert panels[1].boxes.tolist() == panels[2].boxes[2:].tolist()
    assert panels[2].tags == ['car  0.25', 'tree  0.25', 'person  0.75', 'dog  0.75']


def test_own_images_are_drawn_with_their_boxes_shrunk_alike(tool, tmp_path, capsys):
    for name, shape, level in (('a.png', (40, 60, 3), 200), ('b.png', (760, 380, 3), 100)):
        cv2.imwrite(str(tmp_path / name), np.full(shape, level, np.uint8))
    out = tmp_path / 'own.png'
    assert tool.main(['--out', str(out), '--lam', '0.25', '--images', str(tmp_path / 'a.png'),
                      str(tmp_path / 'b.png'), '--boxes2', 'cup 100 400 300 700']) == 0
    # the second is halved to 190 x 380: 30 + 60 + 56 + 190 + 56 + 190 + 30 wide, 84 + 380 + 44
    assert capsys.readouterr().out.endswith('own.png: 612 x 508 px, lam 0.25\n')
    picture = read(out)
    assert picture[84 + 5, 392 + 5].tolist() == [125] * 3  # 0.25 x 200 + 0.75 x 100
    assert picture[84 + 100, 392 + 100].tolist() == [75] * 3
    scene = tool.read_scene(tmp_path / 'b.png', ['cup 100 400 300 700'])
    assert scene.boxes.tolist() == [[50, 200, 150, 350]]


@pytest.mark.parametrize('args, words', [
    (['--lam', '1.5'], r'lam must be in [0, 1], got 1.5'),
    (['--boxes1', 'cup 1 2 3 4'], '--boxes1 and --boxes2 belong to --images'),
    (['--images', 'none.jpg', 'none.jpg'], 'none.jpg is not an image that OpenCV can read'),
    (['--images', str(ROOT / 'docs/mixup.png'), 'x', '--boxes1', 'cup 1 2 3'],
     "a box must be 'NAME X1 Y1 X2 Y2', got 'cup 1 2 3'"),
])
def test_what_cannot_be_drawn_is_refused_in_one_line(tool, tmp_path, capsys, args, words):
    with pytest.raises(SystemExit) as stop:
        tool.main(['--out', str(tmp_path / 'x.png'), *args])
    message = capsys.readouterr().err
    assert stop.value.code == 2 and words in message and message.count('\n') == 1
    assert not (tmp_path / 'x.png').exists()
