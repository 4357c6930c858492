"""Mixup's pure functions against hand-worked numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tricks_plugin.tricks.mixup import functional, layout
from tricks_plugin.tricks.mixup.functional import (
    blend,
    box_weights,
    concat_annotations,
    contiguous_image,
    draw_lam,
    element_weights,
    planar_image,
)

sides = st.integers(1, 9)
shares = st.floats(0, 1)


def image(height, width, channels=3, dtype=np.uint8, seed=0):
    rng = np.random.RandomState(seed + height * 100 + width)
    shape = (height, width) + ((channels,) if channels else ())
    return rng.randint(0, 256, shape).astype(dtype)


# 0.3 x 101 = 30.3 alone, 0.7 x 202 = 141.4 alone, 30.3 + 141.4 = 171.7 where both lie
PAPER = [[171.7, 171.7, 30.3], [171.7, 171.7, 30.3], [141.4, 141.4, 0], [141.4, 141.4, 0]]


def test_two_images_blend_on_the_larger_canvas_as_worked_on_paper():
    first, second = np.full((2, 3), 101, np.float32), np.full((4, 2), 202, np.float32)
    np.testing.assert_allclose(blend(first, second, 0.3), PAPER, rtol=0, atol=1e-4)
    rounded = [[172, 172, 30], [172, 172, 30], [141, 141, 0], [141, 141, 0]]
    grey = blend(first.astype(np.uint8), second.astype(np.uint8), 0.3)
    assert grey.dtype == np.uint8 and grey.tolist() == rounded


def test_a_pad_value_counts_where_an_image_does_not_reach():
    first, second = np.full((2, 3, 1), 101, np.uint8), np.full((4, 2, 1), 202, np.uint8)
    # 0.3 x 101 + 0.7 x 40 = 58.3; 0.7 x 202 + 0.3 x 40 = 153.4; 40 where none lies
    want = [[172, 172, 58], [172, 172, 58], [153, 153, 40], [153, 153, 40]]
    assert blend(first, second, 0.3, pad_value=40)[..., 0].tolist() == want
    floats = blend(first.astype(np.float32), second.astype(np.float32), 0.3, pad_value=40)
    assert floats[0, 2, 0] == pytest.approx(58.3) and floats[3, 0, 0] == pytest.approx(153.4)
    assert floats[3, 2, 0] == 40


def test_an_image_larger_both_ways_keeps_its_whole_border():
    large = np.full((3, 3), 200, np.uint8)
    small = np.full((1, 2), 100, np.uint8)
    # 0.25 x 100 + 0.75 x 200 = 175; 0.75 x 200 = 150
    assert blend(small, large, 0.25).tolist() == [[175, 175, 150], [150] * 3, [150] * 3]
    assert blend(large, small, 0.75).tolist() == [[175, 175, 150], [150] * 3, [150] * 3]


@pytest.mark.parametrize('lam, kept', [(1.0, 0), (0.0, 1)])
def test_a_share_of_one_leaves_that_image_alone(lam, kept):
    pair = (image(5, 7), image(6, 4))
    canvas = blend(*pair, lam)
    height, width = pair[kept].shape[:2]
    assert canvas.shape == (6, 7, 3)
    assert np.array_equal(canvas[:height, :width], pair[kept])
    canvas[:height, :width] = 0
    assert not canvas.any()


def exact(first, second, lam, pad):
    """The blend pixel by pixel in Python floats, outside an image the pad value."""
    height, width = (max(a, b) for a, b in zip(first.shape[:2], second.shape[:2], strict=True))

    def pixel(img, y, x):
        inside = y < img.shape[0] and x < img.shape[1]
        return img[y, x].astype(float) if inside else np.full(img.shape[2:], float(pad))

    return np.array([[lam * pixel(first, y, x) + (1 - lam) * pixel(second, y, x)
                      for x in range(width)] for y in range(height)])


@settings(max_examples=40, deadline=None)
@given(sides, sides, sides, sides, shares, st.sampled_from([0, 3, 1, 4]),
       st.sampled_from([0.0, 37.5, 255.0]))
def test_any_blend_is_within_a_grey_level_of_the_exact_one(h1, w1, h2, w2, lam, channels, pad):
    first, second = image(h1, w1, channels), image(h2, w2, channels, seed=1)
    want = exact(first, second, lam, pad)
    canvas = blend(first, second, lam, pad)
    assert canvas.shape == want.shape
    assert np.abs(canvas.astype(float) - want).max() <= 1.0
    floats = blend(first.astype(np.float32), second.astype(np.float32), lam, pad)
    np.testing.assert_allclose(floats, want, rtol=1e-6, atol=1e-4)


def test_without_opencv_the_blend_is_the_same(monkeypatch):
    pair = (image(31, 47), image(40, 20))
    with_opencv = blend(*pair, 0.37, 12.0)
    monkeypatch.setattr(functional, 'cv2', None)
    without = blend(*pair, 0.37, 12.0)
    assert np.abs(with_opencv.astype(int) - without.astype(int)).max() <= 1
    assert np.abs(without - exact(*pair, 0.37, 12.0)).max() <= 0.5 + 1e-4


@settings(max_examples=20, deadline=None)
@given(shares)
def test_equal_images_stay_as_they_are(lam):
    every_level = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(blend(every_level, every_level, lam), every_level)
    floats = every_level.astype(np.float32)
    np.testing.assert_allclose(blend(floats, floats, lam), floats, rtol=3e-7)


@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_without_opencv_a_share_of_one_and_equal_images_are_exact_too(monkeypatch, dtype):
    monkeypatch.setattr(functional, 'cv2', None)
    first, second = image(6, 8, dtype=dtype), image(6, 8, dtype=dtype, seed=3)
    assert np.array_equal(blend(first, second, 1.0), first)
    assert np.array_equal(blend(first, second, 0.0), second)
    if dtype == np.uint8:
        assert np.array_equal(blend(first, first, 0.37), first)


def test_the_canvas_can_be_given_and_the_images_stay_as_they_are():
    first, second = image(4, 6), image(5, 3)
    before = first.copy(), second.copy()
    out = np.full((5, 6, 3), 9, np.uint8)
    assert blend(first, second, 0.4, out=out) is out
    assert np.array_equal(out, blend(first, second, 0.4))
    assert np.array_equal(first, before[0]) and np.array_equal(second, before[1])


@pytest.mark.parametrize('flip', [np.s_[:, ::-1], np.s_[::-1], np.s_[::-1, ::-1], np.s_[1:, ::2]])
@pytest.mark.parametrize('channels', [0, 1, 3])
def test_views_blend_like_their_copies(flip, channels):
    view = image(6, 9, channels)[flip]
    straight = contiguous_image(view)
    assert straight.flags.c_contiguous and np.array_equal(straight, view)
    other = image(5, 4, channels)
    assert np.array_equal(blend(view, other, 0.6), blend(view.copy(), other, 0.6))
    assert contiguous_image(straight) is straight


@pytest.mark.parametrize('opencv', [True, False])
@pytest.mark.parametrize('flip', [np.s_[:], np.s_[:, ::-1], np.s_[::-1], np.s_[1:, ::2]])
@pytest.mark.parametrize('channels', [1, 3, 4])
def test_a_planar_image_is_the_same_image_with_its_channels_one_after_another(
        monkeypatch, channels, flip, opencv):
    if not opencv:
        monkeypatch.setattr(layout, 'cv2', None)
    for dtype in (np.uint8, np.float32, np.int16):
        plain = image(5, 8, channels, dtype)[flip]
        planar = planar_image(plain)
        assert planar.dtype == dtype and np.array_equal(planar, plain)
        assert planar.transpose(2, 0, 1).flags.c_contiguous
        as_it_is = channels == 1 and flip == np.s_[:]
        assert np.shares_memory(planar, plain) == as_it_is
        assert planar_image(planar) is planar


def test_a_planar_image_as_worked_on_paper():
    planes = planar_image(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8)).transpose(2, 0, 1)
    assert planes.tolist() == [[[1, 4]], [[2, 5]], [[3, 6]]]


@pytest.mark.parametrize('args, error, words', [
    ((image(2, 2), image(2, 2, dtype=np.float32), 0.5), TypeError, 'uint8 and float32'),
    ((image(2, 2, dtype=np.int16),) * 2 + (0.5,), TypeError, 'int16'),
    ((image(2, 2), image(2, 2, 1), 0.5), ValueError, r'\(2, 2, 3\) and \(2, 2, 1\)'),
    ((image(2, 2), image(2, 2), 1.2), ValueError, r'lam must be in \[0, 1\], got 1.2'),
    ((image(2, 2), image(2, 2), 0.5, 300), ValueError, r'pad_value must be in .* got 300'),
    ((image(2, 2), image(3, 2), 0.5, 0, image(2, 2)), ValueError, r'shape \(3, 2, 3\)'),
])
def test_wrong_images_are_refused_with_what_came(args, error, words):
    with pytest.raises(error, match=words):
        blend(*args)


def test_the_share_is_drawn_from_a_symmetric_beta_distribution():
    rng = np.random.RandomState(4)
    draws = np.array([draw_lam(rng, 1.5) for _ in range(4000)])
    # Beta(a, a): mean 1/2, variance 1 / (4 (2a + 1)) = 1/16 at 1.5
    assert draws.mean() == pytest.approx(0.5, abs=0.02)
    assert draws.std() == pytest.approx(0.25, abs=0.01)
    assert draw_lam(np.random.default_rng(5), 0.2) == draw_lam(np.random.default_rng(5), 0.2)


@pytest.mark.parametrize('alpha', [0, -1.5, float('nan')])
def test_an_alpha_not_above_zero_is_refused(alpha):
    with pytest.raises(ValueError, match='alpha must be > 0, got'):
        draw_lam(np.random, alpha)


def test_an_infinite_alpha_whose_draws_are_no_numbers_is_refused():
    with pytest.raises(ValueError, match='alpha must be finite, got inf'):
        draw_lam(np.random, float('inf'))


def test_boxes_carry_their_image_s_share():
    weights = box_weights(2, 3, 0.3)
    assert weights.dtype == np.float32
    assert weights == pytest.approx([0.3, 0.3, 0.7, 0.7, 0.7], abs=1e-7)
    assert box_weights(0, 0, 0.3).shape == (0,)


def test_annotations_are_joined_unmoved_and_weights_multiply():
    first = dict(boxes=np.array([[1, 2, 30, 40.]], np.float32), labels=np.array([7]),
                 weights=np.array([0.5], np.float32))
    second = dict(boxes=np.array([[5, 6, 7, 8.], [0, 0, 9, 3.]], np.float32),
                  labels=np.array([1, 4]))
    joined = concat_annotations(first, second, 0.2)
    assert joined['boxes'].tolist() == [[1, 2, 30, 40], [5, 6, 7, 8], [0, 0, 9, 3]]
    assert joined['labels'].tolist() == [7, 1, 4]
    # 0.5 so far times 0.2; 1 so far times 0.8
    assert joined['weights'] == pytest.approx([0.1, 0.8, 0.8], abs=1e-7)
    assert joined['weights'].dtype == np.float32


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 6), st.integers(0, 6), shares)
def test_weights_sum_to_the_shares_times_the_counts(num_first, num_second, lam):
    parts = [dict(boxes=np.zeros((n, 4), np.float32)) for n in (num_first, num_second)]
    joined = concat_annotations(*parts, lam)
    assert len(joined['boxes']) == len(joined['weights']) == num_first + num_second
    want = lam * num_first + (1 - lam) * num_second
    assert float(joined['weights'].sum()) == pytest.approx(want, abs=1e-5)


def test_annotations_that_do_not_fit_are_refused():
    boxes = np.zeros((2, 4))
    with pytest.raises(ValueError, match=r"same annotations.*\['boxes'\].*'labels'"):
        concat_annotations(dict(boxes=boxes), dict(boxes=boxes, labels=np.zeros(2)), 0.5)
    with pytest.raises(ValueError, match="'boxes': 2, 'labels': 3"):
        concat_annotations(*[dict(boxes=boxes, labels=np.zeros(3))] * 2, 0.5)


def test_elements_take_the_weight_of_their_box_and_background_takes_one():
    elements = element_weights(
        6, [torch.tensor([4, 1]), torch.tensor([], dtype=torch.int64)],
        [torch.tensor([0, 2]), torch.tensor([], dtype=torch.int32)],
        [torch.tensor([0.3, 0.6, 0.7]), torch.tensor([])])
    want = torch.tensor([[1, 0.7, 1, 1, 0.3, 1], [1] * 6])
    assert torch.equal(elements, want)
