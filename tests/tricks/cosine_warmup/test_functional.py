from __future__ import annotations

import math

import pytest

from tricks_plugin.tricks.cosine_warmup.functional import fitted_warmup, warmup_cosine

# A run of 13 steps with a warm-up of 4 to 0.08, ending at 0.005. The cosine's values over
# ninths of pi: 1, 0.9396926, 0.7660444, 0.5, 0.1736482, and the same negative.
BY_HAND = [
    0.0, 0.02, 0.04, 0.06, 0.08,
    0.0425 + 0.0375 * 0.9396926, 0.0425 + 0.0375 * 0.7660444, 0.0425 + 0.0375 * 0.5,
    0.0425 + 0.0375 * 0.1736482, 0.0425 - 0.0375 * 0.1736482, 0.0425 - 0.0375 * 0.5,
    0.0425 - 0.0375 * 0.7660444, 0.0425 - 0.0375 * 0.9396926, 0.005,
]


@pytest.mark.parametrize(('step', 'expected'), list(enumerate(BY_HAND)))
def test_every_step_has_the_value_worked_out_by_hand(step, expected):
    assert warmup_cosine(step, 0.08, 4, 13, 0.005) == pytest.approx(expected, rel=1e-6, abs=1e-15)


def test_the_start_the_joint_and_the_end_are_exact():
    assert warmup_cosine(0, 0.3, 7, 100, 1e-3) == 0.0
    assert warmup_cosine(7, 0.3, 7, 100, 1e-3) == 0.3
    assert warmup_cosine(100, 0.3, 7, 100, 1e-3) == 1e-3
    assert warmup_cosine(5000, 0.3, 7, 100, 1e-3) == 1e-3


def test_without_warm_up_the_first_step_has_the_base_lr():
    assert warmup_cosine(0, 0.3, 0, 9, 1e-3) == 0.3


def test_both_sides_of_the_joint_meet():
    below, above = (warmup_cosine(50 + side * 1e-6, 0.1, 50, 700) for side in (-1, 1))
    assert below == pytest.approx(0.1, rel=1e-7)
    assert above == pytest.approx(0.1, rel=1e-7)


def test_a_flat_part_is_exactly_the_base_lr_and_the_cosine_takes_the_rest():
    # A warm-up of 4, then 9 steps: a third of them flat, to step 7; the cosine over sixths of pi.
    expected = [0.0, 0.02, 0.04, 0.06, 0.08, 0.08, 0.08, 0.08,
                *(0.0425 + 0.0375 * c for c in (0.8660254, 0.5, 0.0, -0.5, -0.8660254)), 0.005]
    found = [warmup_cosine(step, 0.08, 4, 13, 0.005, 1 / 3) for step in range(14)]
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-15)
    assert found[4:8] == [0.08] * 4 and found[13] == 0.005
    assert warmup_cosine(9, 0.08, 4, 13, 0.005, 0.0) == warmup_cosine(9, 0.08, 4, 13, 0.005)


@pytest.mark.parametrize('flat', [1, 1.5, -0.1])
def test_a_flat_part_that_leaves_no_cosine_is_refused(flat):
    with pytest.raises(ValueError, match=rf'flat_fraction must be in \[0, 1\).*got {flat}'):
        warmup_cosine(1, 0.1, 2, 9, flat_fraction=flat)


def test_the_curve_agrees_with_the_chebyshev_recurrence():
    # cos((k + 1) a) = 2 cos(a) cos(k a) - cos((k - 1) a): no cosine of the share is taken.
    base, floor, warmup, total = 0.037, 0.0011, 23, 190
    turn = math.cos(math.pi / (total - warmup))
    earlier, now = turn, 1.0
    for step in range(warmup, total):
        expected = floor + (base - floor) * (1 + now) / 2
        assert warmup_cosine(step, base, warmup, total, floor) == pytest.approx(expected, rel=1e-9)
        earlier, now = now, 2 * turn * now - earlier


@pytest.mark.parametrize(('arguments', 'message'), [
    ((-1, 0.1, 2, 9), r'step must be >= 0, got -1'),
    ((1, 0.1, -2, 9), r'warmup must be >= 0, got -2'),
    ((1, 0.1, 9, 9), r'warmup must be shorter than the run, got a warm-up of 9 for 9 steps'),
    ((1, 0.1, 2, 9, 0.2), r'eta_min must be between 0 and the base LR, got 0.2 for a base LR of'),
    ((1, 0.1, 2, 9, -0.2), r'eta_min must be between 0 and the base LR, got -0.2'),
])
def test_wrong_arguments_are_named_with_their_value(arguments, message):
    with pytest.raises(ValueError, match=message):
        warmup_cosine(*arguments)


@pytest.mark.parametrize(('warmup', 'total', 'expected'), [
    (1000, 520, 52.0), (260, 520, 260), (261, 520, 52.0), (500, 87000, 500), (0, 7, 0),
])
def test_a_warm_up_of_more_than_half_of_the_run_becomes_a_tenth(warmup, total, expected):
    assert fitted_warmup(warmup, total) == expected
