"""How likely an unmixed look is by chance, and what the evidence makes of it."""

from __future__ import annotations

from itertools import permutations
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tricks_plugin.tricks.mixup.chance import partners_alike, shown_share
from tricks_plugin.tricks.mixup.evidence import MixUpEvidence


@pytest.mark.parametrize('labels', [
    [0, 0, 0, 1], [0, 1], [2, 2], [5], [0, 1, 1, 0], [3, 1, 3, 2, 1]])
def test_it_is_the_share_of_all_permutations_or_the_reversal_that_join_like_ones(labels):
    orders = [[labels[index] for index in order] for order in permutations(range(len(labels)))]
    expected = sum(order == labels for order in orders) / len(orders)
    if labels == labels[::-1]:  # of timm's reversed batch
        expected = 1.0
    numbers = torch.tensor(labels)
    rows = torch.eye(6)[numbers]
    for targets in (numbers, rows, 0.9 * rows + 0.1 / 6):
        assert float(partners_alike(targets)) == pytest.approx(expected, rel=1e-5)


def test_images_of_several_labels_are_alike_where_all_of_them_are():
    rows = torch.tensor([[1.0, 1, 0], [1, 0, 0], [1, 1, 0]])
    assert float(partners_alike(rows[[0, 2, 1]])) == pytest.approx(1 / 3)  # 2 of 6 orders


@pytest.mark.parametrize(('alpha', 'least'), [(0.02, 1e-6), (0.2, 1e-6), (1.5, 1e-6)])
def test_lam_next_to_0_or_1_shows_nothing(alpha, least):
    draws = np.random.default_rng(5).beta(alpha, alpha, 200_000)
    share = ((draws > least) & (draws < 1 - least)).mean()
    assert shown_share(alpha) == pytest.approx(share, abs=0.005)  # 4 standard errors


def test_of_two_kinds_the_one_that_shows_less_counts_and_no_probability_counts_as_all():
    assert shown_share(1.0, prob=0.5) == pytest.approx(0.5, abs=1e-5)
    assert shown_share(1.0, 1.0) == pytest.approx(0.98)  # lam is uniform: 1 % at either end
    assert shown_share(0.0, 'minmax') == 0.6
    assert shown_share(1.0, prob=0.0) == pytest.approx(1.0, abs=1e-5)


def found(batches, alpha=0.2, scores=False):
    """The evidence's finding on batches of targets, before any switch."""
    evidence = MixUpEvidence(alpha, scores=scores)
    model = torch.nn.Module()
    model.loss_module = torch.nn.CrossEntropyLoss()
    training = SimpleNamespace(model=model, loaders={}, by_epoch=True, max_epochs=9, epoch=0,
                               max_iterations=9999, epoch_length=32)
    evidence.start(training)
    for iteration, targets in enumerate(batches):
        training.epoch, training.iteration = iteration // 32, iteration
        training.targets = None if scores else targets
        evidence.before_iteration(training)
        if scores:
            model.loss_module(torch.zeros(targets.shape, requires_grad=True), targets)
    evidence.close()
    return evidence.finding(training)


def rare(size, share, count, mixed, alpha=0.2):
    """Batches of two classes, the second of which is `share` of the images."""
    draw = np.random.default_rng(7)
    for _ in range(count):
        rows = torch.eye(2)[torch.from_numpy((draw.random(size) < share).astype(int))]
        lam = float(draw.beta(alpha, alpha)) if mixed else 1.0
        yield lam * rows + (1 - lam) * rows.flip(0)


@pytest.mark.parametrize('scores', [False, True])
def test_classes_that_seldom_meet_do_not_make_a_working_mixup_dead(scores):
    batches = [rows for rows in rare(4, 0.05, 400, True) if bool((rows.amax(1) == 1).all())][:64]
    finding = found(batches, scores=scores)
    assert finding.values['unmixed_run'] == len(batches) == 64
    assert finding.live is None and finding.values['unmixed_chance'] > 1e-6
    assert 'not known yet: by their labels all 64 look unmixed with probability' in finding.measured


@pytest.mark.parametrize('scores', [False, True])
def test_mixing_that_never_happens_is_dead_as_soon_as_the_labels_tell(scores):
    assert found(rare(4, 0.05, 20, False), scores=scores).live is None
    finding = found(rare(4, 0.05, 256, False), scores=scores)
    assert finding.live is False and finding.values['unmixed_chance'] < 1e-6
    assert 'not known' not in finding.measured
    numbers = [torch.arange(8) for _ in range(8)]  # class numbers, which no mixture can be
    assert found(numbers).live is False


def test_a_tiny_alpha_needs_more_batches():
    plain = [torch.eye(8) for _ in range(32)]
    assert found(plain).live is False
    # Three of four shares lie next to 0 or 1: 0.757 to the power of 32 is 1e-4.
    finding = found(plain, alpha=0.02)
    assert finding.live is None
    assert finding.values['unmixed_chance'] == pytest.approx(1.4e-4, rel=0.1)


def test_one_class_alone_tells_nothing():
    finding = found([torch.eye(3)[[1, 1, 1, 1]]] * 64)
    assert finding.live is None and finding.values['unmixed_chance'] == 1
