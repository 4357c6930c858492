"""Mixup of a batch of tensors, and what may draw its share."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tricks_plugin.functional import blend, draw_lam, mixup_batch


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 7), st.integers(2, 5), st.floats(0.1, 5), st.integers(0, 2**31))
def test_images_and_labels_are_mixed_alike(batch, classes, alpha, seed):
    labels = torch.arange(batch) % classes
    images = torch.nn.functional.one_hot(labels, classes).double() * 3.0 - 1.0
    before = images.clone()
    mixed, soft = mixup_batch(images, labels, classes, alpha, seeded(seed))
    assert torch.equal(images, before) and mixed.dtype == torch.float64
    torch.testing.assert_close(mixed, soft.double() * 3.0 - 1.0, atol=1e-5, rtol=0)
    torch.testing.assert_close(soft.sum(1), torch.ones(batch), atol=1e-6, rtol=0)
    again = mixup_batch(images, labels, classes, alpha, seeded(seed))
    assert torch.equal(again[0], mixed) and torch.equal(again[1], soft)


def test_the_mix_is_lam_of_each_and_the_rest_of_its_partner():
    images = torch.tensor([[10.0], [20.0], [40.0], [80.0], [160.0]])
    generator = seeded(5)
    mixed, soft = mixup_batch(images, torch.arange(5), 5, 0.4, generator)
    again = seeded(5)
    lam = draw_lam(again, 0.4)
    order = torch.randperm(5, generator=again).tolist()
    values = [10.0, 20.0, 40.0, 80.0, 160.0]
    expected = [lam * values[i] + (1 - lam) * values[order[i]] for i in range(5)]
    assert mixed[:, 0].tolist() == pytest.approx(expected, rel=1e-5)
    for i in range(5):
        row = [0.0] * 5
        row[i] += lam
        row[order[i]] += 1 - lam
        assert soft[i].tolist() == pytest.approx(row, abs=1e-6)


def test_alpha_0_mixes_nothing_and_draws_nothing():
    images, generator = torch.rand(3, 2), seeded(1)
    state = generator.get_state()
    mixed, soft = mixup_batch(images, torch.tensor([2, 0, 1]), 3, 0, generator)
    assert mixed is images and soft.tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    assert torch.equal(generator.get_state(), state)


def test_soft_labels_half_precision_and_the_default_generator():
    soft = torch.tensor([[0.75, 0.25], [0.0, 1.0]])
    torch.manual_seed(3)
    mixed, labels = mixup_batch(torch.ones(2, 4).bfloat16(), soft, 2, 1.0)
    assert mixed.dtype == torch.bfloat16 and labels.shape == (2, 2)
    torch.manual_seed(3)
    assert torch.equal(mixup_batch(torch.ones(2, 4).bfloat16(), soft, 2, 1.0)[1], labels)
    none = torch.zeros(0, dtype=torch.long)
    assert mixup_batch(torch.ones(0, 4), none, 2, 1.0)[1].shape == (0, 2)


@pytest.mark.parametrize(('images', 'labels', 'alpha', 'kind', 'words'), [
    (torch.zeros(2, 3, dtype=torch.uint8), torch.tensor([0, 1]), 1.0, TypeError,
     'images must be floating point to be mixed, got torch.uint8'),
    (torch.zeros(2, 3), torch.tensor([0, 1]), -0.5, ValueError, 'alpha must be >= 0, got -0.5'),
    (torch.zeros(2, 3), torch.tensor([0, 3]), 1.0, ValueError, r'in \[0, 3\), got 0 to 3'),
    (torch.zeros(2, 3), torch.tensor([-100, 1]), 1.0, ValueError, r'in \[0, 3\), got -100 to 1'),
    (torch.zeros(2, 3), torch.zeros(2, 4), 1.0, ValueError,
     r'integers of shape \(2,\) or soft labels of shape \(2, 3\), got torch.float32 of shape '
     r'\(2, 4\)'),
    (torch.zeros(2, 3), torch.zeros(3, dtype=torch.long), 1.0, ValueError, r'shape \(3,\)'),
])
def test_what_cannot_be_mixed_is_refused_by_name(images, labels, alpha, kind, words):
    with pytest.raises(kind, match=words):
        mixup_batch(images, labels, 3, alpha)


def test_any_generator_draws_and_the_torch_one_follows_its_beta():
    for rng in (np.random, np.random.RandomState(0), np.random.default_rng(0), seeded(0)):
        assert 0 <= draw_lam(rng, 1.5) <= 1
    assert draw_lam(seeded(4), 0.2) == draw_lam(seeded(4), 0.2) != draw_lam(seeded(5), 0.2)
    generator = seeded(9)
    drawn = np.array([draw_lam(generator, 2.0) for _ in range(2000)])
    # Beta(2, 2): mean 1/2, variance 1/20; four standard errors of the mean are 0.02
    assert abs(drawn.mean() - 0.5) < 0.02 and abs(drawn.var() - 0.05) < 0.008
    with pytest.raises(TypeError, match='or a torch.Generator, got 3'):
        draw_lam(3, 1.0)


def test_a_blend_of_tensors_is_refused_truly():
    with pytest.raises(TypeError, match=r'NumPy arrays .* got torch.Tensor; .* mixup_batch'):
        blend(torch.zeros(2, 2), torch.zeros(2, 2), 0.5)
    with pytest.raises(TypeError, match='both float32, got float64 and float64'):
        blend(np.zeros((2, 2)), np.zeros((2, 2)), 0.5)
