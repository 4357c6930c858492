"""What the evidence of a timm training says of the optimizer and the images."""

from __future__ import annotations

import pytest
import torch
from timm_evidence_kit import build, found, train

from tricks_plugin.timm.evidence import TimmEvidence


@pytest.mark.parametrize(('flags', 'images', 'lr'), [
    (dict(batch_size=8, lr=0.003125, lr_base=0.1), 8, 0.003125),
    (dict(batch_size=8, grad_accum_steps=4, lr=0.0125), 32, 0.0125),
    (dict(batch_size=16, lr=0.025, lr_base_scale='sqrt'), 16, 0.025),
])
def test_the_images_behind_an_update_and_their_rate(flags, images, lr):
    finding = found(train(build(**flags), 'linear_lr', epochs=1), 'linear_lr')
    assert finding.live is True
    assert finding.values['images_per_update'] == images
    assert finding.values['lr_by_the_rule'] == pytest.approx(lr, rel=1e-12)


def test_a_rate_for_another_batch_is_dead():
    # Planned: 8 images, 0.1 * 8 / 256 = 0.003125.
    run = build(batch_size=8, lr=0.1)
    finding = found(train(run, 'linear_lr', epochs=1), 'linear_lr')
    assert finding.live is False and 'base LR 0.1' in finding.measured
    run = build(batch_size=8, lr=0.003125)
    run.args.batch_size = 6
    finding = found(train(run, 'linear_lr', epochs=1), 'linear_lr')
    assert finding.live is False
    assert finding.measured.startswith('6 images per update (1 process(es)), for which the rule')


def test_a_derived_rate_is_watched_without_a_plan_and_a_given_one_is_not():
    derived = build(lr=0.003125, lr_base_scale='linear')
    assert 'linear_lr' in TimmEvidence(derived).measurements
    assert 'linear_lr' not in TimmEvidence(build(lr=0.05)).measurements


def shapes(sizes, **flags):
    evidence = TimmEvidence(build(train_img_sizes=[6, 8, 10], **flags))
    for size in sizes:
        evidence.on_batch(0, torch.zeros(4, 3, size, size), torch.zeros(4, dtype=torch.long))
    return found(evidence, 'random_shapes')


def test_the_sizes_that_arrive_are_counted():
    finding = shapes([6, 8, 8, 10])
    assert finding.live is True
    assert finding.values['shapes'] == {'6x6': 1, '8x8': 2, '10x10': 1}
    assert finding.values['batch_sizes'] == {'4': 4}


def test_one_size_only_and_strange_sizes_are_dead():
    assert shapes([8] * 6).live is None  # one of three, six times: 1/729
    assert shapes([8] * 7).live is False
    assert shapes([8] * 50, train_size_schedule='progressive').live is None
    finding = shapes([6, 12])
    assert finding.live is False and finding.values['not_planned'] == ['12x12']
