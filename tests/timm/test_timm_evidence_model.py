"""What the evidence of a timm training says of the optimizer and the images."""

from __future__ import annotations

import torch
from timm_evidence_kit import build, found

from tricks_plugin.timm.evidence import TimmEvidence


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
