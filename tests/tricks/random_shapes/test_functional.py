"""The arithmetic of random shapes, against numbers worked on paper."""

from __future__ import annotations

import collections

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tricks_plugin.tricks.random_shapes.functional import (
    draw_size,
    nearest_index,
    rescale_boxes,
    resize_images,
    scaled_length,
    target_shape,
    training_sizes,
)

PAPER = [320, 352, 384, 416, 448, 480, 512, 544, 576, 608]


def test_the_papers_range_is_ten_sizes_for_416_and_for_608():
    assert training_sizes(608, (320 / 608, 1.0)) == PAPER
    assert training_sizes(416, (320 / 416, 608 / 416)) == PAPER


def test_a_range_is_rounded_to_the_nearest_multiples_and_never_below_64_px():
    # 0.45 * 300 = 135, 4.2 times 32; 0.9 * 300 = 270, 8.4 times 32
    assert training_sizes(300, (0.45, 0.9)) == [128, 160, 192, 224, 256]
    assert training_sizes(100, (0.1, 1.0)) == [64, 96]
    assert training_sizes(640, (0.6, 1.0), divisor=128) == [384, 512, 640]
    assert training_sizes(100, (0.1, 0.4)) == []


@pytest.mark.parametrize('given_range', [(1.0, 0.5), (0, 1), (0.5,)])
def test_a_wrong_range_is_refused(given_range):
    with pytest.raises(ValueError, match=r'ratio_range must be \(low, high\) with 0 < low'):
        training_sizes(416, given_range)


def test_the_draw_never_changes():
    # pinned: a checkpoint of today must resume with the same shapes in years
    assert [draw_size(42, i, PAPER, 1) for i in range(12)] == [
        608, 512, 448, 320, 448, 544, 544, 576, 320, 416, 544, 608]


def test_the_first_interval_has_the_largest_and_each_interval_one_size():
    drawn = [draw_size(42, i, PAPER, 10) for i in range(40)]
    assert drawn == [608] * 10 + [512] * 10 + [448] * 10 + [320] * 10
    assert draw_size(7, 9, [96, 128, 64], 10) == 128


def test_draws_are_uniform_and_differ_between_seeds():
    counts = collections.Counter(draw_size(3, i, PAPER, 1) for i in range(1, 6001))
    # chi-square of nine degrees of freedom: above 27.9 once in a thousand seeds
    assert set(counts) == set(PAPER)
    assert sum((count - 600) ** 2 / 600 for count in counts.values()) < 27.9
    one, two = ([draw_size(seed, i, PAPER, 1) for i in range(50)] for seed in (1, 2))
    assert one != two


def test_half_of_the_draws_are_at_home_and_the_others_are_even():
    counts = collections.Counter(draw_size(3, i, PAPER, 1, home=416) for i in range(1, 6001))
    assert sorted(counts) == PAPER
    # 3000 with a standard deviation of 38.7; nine others of 333.3 with one of 17.7
    assert abs(counts.pop(416) - 3000) < 200
    assert max(abs(count - 333.3) for count in counts.values()) < 90
    assert draw_size(3, 5, PAPER, 10, home=416) == 608  # the first interval has the largest
    plain = [draw_size(3, i, PAPER, 1) for i in range(1, 50)]
    assert [draw_size(3, i, PAPER, 1, home=416, share=0) for i in range(1, 50)] == plain


@pytest.mark.parametrize('shape, ratio, short, long', [
    # fitted into 192 x 192, of which 160 is asked: long sides become 160, whatever the short is
    ((160, 192), 160 / 192, (128, 160), (128, 160)),
    ((96, 192), 160 / 192, (96, 192), (96, 160)),
    ((192, 96), 160 / 192, (192, 96), (160, 96)),
    ((128, 192), 128 / 192, (96, 160), (96, 128)),  # 64 nearer to 96 than to 64 by rounding up
    ((192, 192), 128 / 192, (128, 128), (128, 128)),
])
def test_the_long_side_leads_where_images_are_fitted_into_a_square(shape, ratio, short, long):
    assert target_shape(shape, ratio) == short
    assert target_shape(shape, ratio, side='long') == long


def test_the_sizes_of_a_fitted_batch_are_all_different():
    # By the short side two of four sizes gave one shape
    short = [target_shape((128, 192), size / 192) for size in (96, 128, 160, 192)]
    assert len(set(short)) == 3
    long = [target_shape((128, 192), size / 192, side='long') for size in (96, 128, 160, 192)]
    assert [max(shape) for shape in long] == [96, 128, 160, 192]


def test_chances_by_hand():
    from tricks_plugin.tricks.random_shapes.chance import binomial_tail, size_weights
    assert size_weights([96, 128, 160], 128, 0.5) == {96: 0.25, 128: 0.5, 160: 0.25}
    assert size_weights([96, 128], 160, 0.5) == {96: 0.5, 128: 0.5}
    # 10 draws, 9 or 10 of a half: (10 + 1) / 1024; none of a quarter: 0.75 ** 10
    assert binomial_tail(10, 9, 0.5) == pytest.approx(11 / 1024, rel=1e-12)
    assert binomial_tail(10, 0, 0.25) == pytest.approx(0.0563135147, rel=1e-8)


def test_any_integer_is_a_seed():
    assert draw_size(-1, 25, PAPER) in PAPER and draw_size(2**40, 25, PAPER) in PAPER


def test_a_wrong_draw_is_refused():
    with pytest.raises(ValueError, match='interval must be >= 1 and iteration >= 0, got'):
        draw_size(0, -1, PAPER)


@pytest.mark.parametrize('shape, ratio, expected', [
    ((608, 608), 480 / 608, (480, 480)),
    ((160, 192), 0.8, (128, 160)),    # 128 keeps the aspect at 153.6, nearest to 160
    ((192, 160), 0.8, (160, 128)),
    ((800, 1344), 0.52, (416, 704)),  # 416 * 1.68 = 698.9
    ((480, 608), 0.5, (256, 320)),    # 240 is 7.5 times 32, rounded up; 256 * 1.267 = 324.3
    ((512, 640), 1.0, (512, 640)),
    ((96, 320), 0.1, (32, 96)),       # the least is one divisor; 32 * 3.33 = 106.7
    ((100, 333), 1.0, (96, 320)),
])
def test_the_target_is_the_nearest_multiple_that_keeps_the_aspect(shape, ratio, expected):
    assert target_shape(shape, ratio) == expected


@settings(max_examples=80, deadline=None)
@given(st.integers(2, 40), st.integers(2, 40), st.floats(0.3, 1.5))
def test_the_aspect_is_off_by_half_a_divisor_at_most(rows, columns, ratio):
    h, w = 32 * rows, 32 * columns
    new = target_shape((h, w), ratio)
    assert new[0] % 32 == 0 and new[1] % 32 == 0
    (short, long), (new_short, new_long) = sorted((h, w)), sorted(new)
    assert abs(new_long - new_short * long / short) <= 16
    assert abs(new_short - ratio * short) <= 16 or new_short == 32


def test_lengths_and_pixels_follow_the_canvas():
    assert [scaled_length(n, 160, 128) for n in (160, 150, 101, 0)] == [128, 120, 81, 0]
    # centres at 0.625, 1.875, 3.125, 4.375 of five pixels that become four
    assert nearest_index(5, 5, 4).tolist() == [0, 1, 3, 4]
    # 0.4, 1.2, 2.0, 2.8, 3.6
    assert nearest_index(4, 4, 5).tolist() == [0, 1, 2, 2, 3]
    # seven valid pixels of ten become four of five
    assert nearest_index(7, 10, 5).tolist() == [1, 3, 5, 6]


def test_shrinking_is_antialiased_and_does_not_write_into_the_images():
    # columns 0 and 60 in turn: any half-size picture of them is grey in the middle
    images = torch.tensor([0.0, 60.0]).repeat(4)[None, None, None].expand(1, 1, 8, 8).clone()
    before = images.clone()
    small = resize_images(images, (4, 4))
    assert torch.equal(images, before)
    assert small[0, 0, 0, 1:3].tolist() == pytest.approx([30.0, 30.0], abs=1e-4)
    # four pixels to one: without antialiasing two of every four would be read and two lost
    lines = torch.tensor([100.0, 0.0, 0.0, 0.0]).repeat(8)[None, None, None].expand(1, 1, 32, 32)
    assert resize_images(lines, (8, 8))[0, 0, 4, 2:6].mean() == pytest.approx(25.0, abs=1.0)


def test_the_same_shape_gives_the_same_tensor_and_half_precision_stays():
    images = torch.rand(1, 3, 32, 64)
    assert resize_images(images, (32, 64)) is images
    assert resize_images(images.half(), (32, 32)).dtype == torch.float16
    with pytest.raises(TypeError, match='must be floating point, got torch.uint8'):
        resize_images(images.byte(), (32, 32))


def test_boxes_take_both_factors_and_the_given_ones_stay():
    boxes = torch.tensor([[10.0, 20.0, 30.0, 60.0]])
    assert rescale_boxes(boxes, 0.5, 1.25).tolist() == [[5.0, 25.0, 15.0, 75.0]]
    assert boxes.tolist() == [[10.0, 20.0, 30.0, 60.0]]
    assert rescale_boxes(torch.zeros(0, 4), 0.5, 2.0).shape == (0, 4)
    with pytest.raises(ValueError, match=r'4 numbers each, got shape \(2, 5\)'):
        rescale_boxes(torch.zeros(2, 5), 0.5, 0.5)
