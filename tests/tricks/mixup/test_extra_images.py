"""Further images and maps of a sample: found, blended, or refused by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from PIL import Image
from support.mixing import Fixed, mix, sample

from tricks_plugin.plan.errors import TrickError

pytestmark = pytest.mark.slow


@pytest.mark.parametrize('form', [np.asarray, torch.as_tensor])
@pytest.mark.parametrize('first', [False, True])
def test_a_declared_image_is_blended_on_the_same_canvas(form, first):
    # 2 x 3 of 8 and 3 x 2 of 4: a quarter of 8 and three quarters of 4 are 5 where both lie.
    shapes = ((2, 3), (3, 2))
    sides = []
    for number, (shape, value) in enumerate(zip(shapes, (8.0, 4.0), strict=True)):
        depth = np.full((1, *shape) if first else shape, value, np.float32)
        sides.append(sample(number, *shape, depth=form(depth)))
    depth = mix(*sides, images=['depth'])['depth']
    assert isinstance(depth, torch.Tensor) == (form is torch.as_tensor)
    assert np.asarray(depth).reshape(3, 3).tolist() == [[5, 5, 2], [5, 5, 2], [3, 3, 0]]
    assert tuple(depth.shape) == ((1, 3, 3) if first else (3, 3))


@pytest.mark.parametrize('depth', [np.zeros((5, 8)), torch.zeros(2, 5, 8), np.zeros((5, 8, 2))])
def test_another_image_that_is_not_declared_is_refused(depth):
    words = (r"depth has the image's height and width \(5 x 8\).*tricks.mixup.images=\['depth'\] "
             r"blends it.*tricks.mixup.ignore=\['depth'\] leaves")
    with pytest.raises(TrickError, match=words):
        Fixed().transform(sample(1, depth=depth))
    results = mix(sample(1, depth=depth), sample(2, depth=depth), ignore=['depth'])
    assert results['depth'] is depth


@pytest.mark.parametrize('depth, words', [
    ([np.zeros((5, 8)), np.zeros((5, 8))], r"the image's height and width \(5 x 8\)"),
    (np.zeros((2, 5, 8, 3)), r'depth \(ndarray\) is 5 x 8, as an image'),
    (PixelData(depth=torch.zeros(1, 5, 8)), r'depth \(PixelData\) is 5 x 8'),
    (Image.new('L', (8, 5)), r'depth \(Image\) is 5 x 8'),
    (np.zeros((16, 20)), r'depth \(ndarray\) is 16 x 20, as an image or a map would be, beside the '
     'image of 5 x 8'), (np.zeros((1, 48, 48), np.uint8), '48 x 48')])
def test_another_image_is_found_in_any_form_and_size(depth, words):
    with pytest.raises(TrickError, match=rf"{words}.*tricks.mixup.ignore=\['depth'\] leaves"):
        Fixed().transform(sample(1, boxes=3, depth=depth))
    assert mix(sample(1, depth=depth), sample(2, depth=depth),
               ignore=['depth'])['depth'] is depth


def test_small_matrices_and_rows_of_features_are_no_images():
    transform = Fixed()
    transform.transform(sample(1, boxes=3, pose=np.eye(4), lidar=np.zeros((99, 4))))
    with pytest.raises(TrickError, match='code has one entry per box'):
        transform.transform(sample(1, boxes=20, code=np.zeros((20, 51))))


def test_images_in_a_list_are_blended_one_by_one():
    views = [[np.full((2, 3), value, np.float32)] * 2 for value in (8.0, 4.0)]
    mixed = mix(sample(1, 2, 3, views=views[0]), sample(2, 2, 3, views=views[1]), images=['views'])
    assert [view.tolist() for view in mixed['views']] == [[[5.0] * 3] * 2] * 2


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.int64, np.float16, np.float64, bool])
def test_a_blended_image_keeps_its_type(dtype):
    sides = [np.full((2, 3), value).astype(dtype) for value in (202, 100)]
    depth = mix(sample(1, 2, 3, depth=sides[0]), sample(2, 2, 3, depth=sides[1]),
                images=['depth'])['depth']
    assert depth.dtype == dtype  # 202 / 4 + 100 * 3 / 4 = 125.5
    assert depth[0, 0] in ([True] if dtype is bool else [125.5] if depth.dtype.kind == 'f' else
                           [125, 126])


def test_a_declared_image_of_another_shape_or_one_that_is_missing_is_refused():
    with pytest.raises(TrickError, match=r'depth must be .* \(5 x 8\), got shape \(4, 8\)'):
        Fixed(images=['depth']).transform(sample(1, depth=np.zeros((4, 8))))
    with pytest.raises(TrickError, match='images: depth is missing in one of two samples'):
        mix(sample(1), sample(2, depth=np.zeros((5, 8))), images=['depth'])
