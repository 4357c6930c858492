"""What the evidence of a timm training says of mixed images, smoothed targets and sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.timm_evidence import build, found, train, watched
from timm.loss import BinaryCrossEntropy, JsdCrossEntropy, LabelSmoothingCrossEntropy

from tricks_plugin.tricks.label_smoothing.reading import effective_targets


@pytest.fixture(autouse=True)
def _same_draws():
    np.random.seed(3)
    torch.manual_seed(3)


def feed(run, *batches, name='mixup', epoch=0, **kit):
    """The finding after batches of targets, each with images of noise."""
    evidence = watched(run, name, **kit)
    evidence.start()
    for targets in batches:
        evidence.on_batch(epoch, torch.zeros(len(targets), 3, 8, 8), targets)
    return found(evidence, name)


def test_mixup_is_seen_before_its_off_epoch_and_never_after_it():
    run = build(mixup=0.2, smoothing=0.1, mixup_off_epoch=2, updates_per_epoch=10)
    finding = found(train(run), 'mixup')
    assert finding.live is True
    assert finding.planned == 'alpha 0.2, off from epoch 2'
    values = finding.values
    assert (values['batches'], values['batches_after_switch']) == (20, 20)
    assert values['samples_after_switch'] == 160 and values['mixed_after_switch'] == 0
    assert values['mixed_batches'] >= 18
    assert 0 <= values['weight_min'] < values['weight_mean'] < values['weight_max'] <= 0.5


def test_mixup_that_ignores_its_off_epoch_is_dead():
    run = build(mixup=0.2, smoothing=0.1, mixup_off_epoch=2, updates_per_epoch=10)
    finding = found(train(run, off_works=False), 'mixup')
    assert finding.live is False
    assert finding.values['mixed_batches_after_switch'] > 10


def test_one_mixed_batch_after_many_clean_ones_is_found():
    clean = torch.eye(5)[:2]
    mixed = torch.tensor([[0.999, 0.001, 0, 0, 0], [0.001, 0.999, 0, 0, 0]])
    finding = feed(build(mixup=0.2, mixup_off_epoch=1),
                   *([clean] * 77), mixed, *([clean] * 22), epoch=1)
    assert finding.live is False
    assert (finding.values['mixed_batches_after_switch'],
            finding.values['mixed_after_switch']) == (1, 2)


def test_the_share_of_the_second_class_is_read_from_smoothed_targets():
    # Background 0.1; 0.7 of class 0 and 0.3 of class 4: 0.1 + 0.5 * lam.
    rows = torch.tensor([[0.45, 0.1, 0.1, 0.1, 0.25], [0.6, 0.1, 0.1, 0.1, 0.1]])
    values = feed(build(mixup=0.2, smoothing=0.5), rows).values
    assert (values['samples'], values['mixed']) == (2, 1)
    assert values['weight_mean'] == pytest.approx(0.3, abs=1e-6)


def test_targets_that_never_mix_are_a_dead_mixup_only_after_several_batches():
    # Of Beta(0.2, 0.2) 6.64 % lie within 1e-6 of 0 or 1, and one order of five unlike images in
    # 120 joins like ones alone: 0.0742 to the 5th is 2.2e-6, to the 6th 1.7e-7.
    clean = torch.eye(5)
    assert feed(build(mixup=0.2), *([clean] * 5)).live is None
    assert feed(build(mixup=0.2), *([clean] * 6)).live is False


@pytest.mark.parametrize('prob', [0.0, 1.0])
def test_a_mixing_that_stops_after_a_good_start_is_dead(prob):
    run = build(mixup=0.2, updates_per_epoch=20, mixup_prob=1.0)

    def stop(batch):
        if batch == 40:
            run.mixup.mixup_enabled = prob > 0  # two ways to the same end
            run.mixup.mix_prob = 0.0

    evidence = train(run, 'mixup', epochs=2)
    assert found(evidence, 'mixup').live is True
    finding = found(train(build_again(run), 'mixup', meddle=stop), 'mixup')
    assert finding.live is False and finding.values['mixed_batches'] >= 35
    assert 'none of the last 40' in finding.measured


def build_again(run):
    """The same run, as it was before the training."""
    run.mixup.mixup_enabled = True
    return run


def test_a_mixing_of_probability_zero_is_not_what_was_planned():
    run = build(mixup=0.2, mixup_prob=0.0, updates_per_epoch=20)
    finding = found(train(run, 'mixup', epochs=1), 'mixup')
    assert finding.planned == 'alpha 0.2, prob 0, on to the end' and finding.live is False


def test_a_rare_mixing_is_given_more_time():
    # 0.97 of the batches show nothing: 0.97 to the 453rd is 1.02e-6, to the 454th 9.9e-7.
    clean = [torch.eye(5)] * 1000  # 32 of the first, then each eighth
    assert feed(build(mixup=0.2, mixup_prob=0.05), *clean).live is None
    assert feed(build(mixup=0.2, mixup_prob=0.5), *clean).live is False


def test_partners_of_one_class_do_not_make_mixup_dead_where_others_mix():
    # Of the four pairs three hold one class twice.
    run = build(mixup=1.0, updates_per_epoch=10)
    finding = found(train(run, epochs=1, classes=[0, 1, 2, 3, 4, 2, 1, 0]), 'mixup')
    assert finding.live is True
    assert finding.values['mixed'] == 2 * finding.values['mixed_batches']


def test_two_classes_class_numbers_and_a_single_class_are_read_too():
    run = build(mixup=1.0, smoothing=0.1, num_classes=2, mixup_off_epoch=1)
    finding = found(train(run, epochs=2), 'mixup')
    assert finding.live is True and finding.values['mixed_after_switch'] == 0
    assert feed(build(mixup=0.2), *([torch.arange(4)] * 16)).live is False
    finding = feed(build(mixup=0.2, num_classes=1), *([torch.ones(4, 1)] * 30))
    assert finding.live is None and finding.values['samples'] == 0


def test_a_resume_behind_the_off_epoch_starts_anew():
    run = build(mixup=0.2, mixup_off_epoch=1, start_epoch=2)
    finding = found(train(run), 'mixup')
    assert finding.live is True
    assert (finding.values['batches'], finding.values['batches_after_switch']) == (0, 8)


def test_a_run_that_was_over_before_it_was_resumed_claims_nothing():
    run = build(mixup=0.2, smoothing=0.1, mixup_off_epoch=1, start_epoch=4, epochs=4,
                train_img_sizes=[6, 8])
    evidence = train(run)
    for name in ('mixup', 'label_smoothing', 'random_shapes'):
        assert found(evidence, name).live is None


@pytest.mark.parametrize('flags', [
    dict(mixup_mode='elem'), dict(mixup_mode='pair'), dict(mixup=0.0, cutmix=1.0),
    dict(cutmix=1.0, mixup_mode='elem'), dict(mixup_prob=0.5, num_classes=100)])
def test_all_of_timms_ways_to_mix_are_read(flags):
    run = build(**{'mixup': 0.4, 'smoothing': 0.1, 'mixup_off_epoch': 1, **flags})
    evidence = train(run, epochs=2)
    assert found(evidence, 'mixup').live is True
    assert found(evidence, 'mixup').values['samples_after_switch'] == 32
    assert found(evidence, 'label_smoothing').live is True


LABELS = torch.tensor([0, 3, 1])


@pytest.mark.parametrize(('criterion', 'true', 'other'), [
    (LabelSmoothingCrossEntropy(0.2), 0.84, 0.04),
    (BinaryCrossEntropy(0.2), 0.84, 0.04),
    (BinaryCrossEntropy(0.2, sum_classes=True, pos_weight=3.0), 0.84, 0.04),
    (BinaryCrossEntropy(0.2, target_threshold=0.3), 1.0, 0.0),
    (JsdCrossEntropy(num_splits=3, smoothing=0.2), 0.84, 0.04),
    (torch.nn.CrossEntropyLoss(), 1.0, 0.0),
])
def test_the_gradient_of_a_criterion_tells_its_targets(criterion, true, other):
    state = torch.get_rng_state()
    seen = effective_targets(criterion, LABELS, 5)
    wanted = torch.full((3, 5), other, dtype=torch.float64)
    wanted[torch.arange(3), LABELS] = true
    torch.testing.assert_close(seen, wanted, rtol=0, atol=1e-12)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize('mixup', [0.0, 0.2])
def test_smoothing_is_measured_with_and_without_mixup(mixup):
    # s = 0.125 of 5 classes is He's 0.1: others 0.025, true 0.9.
    finding = found(train(build(smoothing=0.125, mixup=mixup, mixup_off_epoch=1)),
                    'label_smoothing')
    assert finding.live is True
    assert finding.planned == 'criterion szegedy, eps 0.125: targets 0.025 to 0.9 of 5 classes'
    assert finding.values['targets']['criterion'] == pytest.approx([0.025, 0.9], abs=1e-6)


@pytest.mark.parametrize('actual', [0.0, 0.1])
def test_a_criterion_that_smooths_otherwise_is_a_dead_smoothing(actual):
    run = build(smoothing=0.125)
    run.task.criterion = LabelSmoothingCrossEntropy(actual)
    finding = found(train(run, epochs=1), 'label_smoothing')
    assert finding.live is False
    assert finding.values['targets']['criterion'][0] == pytest.approx(actual / 5, abs=1e-12)


def test_a_smoothing_that_is_switched_off_after_a_good_start_is_dead():
    run = build(smoothing=0.125, updates_per_epoch=10)

    def off(batch):
        if batch == 25:
            run.task.criterion.smoothing, run.task.criterion.confidence = 0.0, 1.0

    assert found(train(run, epochs=2), 'label_smoothing').live is True
    assert found(train(run, meddle=off), 'label_smoothing').live is False


def test_with_one_class_there_is_nothing_to_measure():
    finding = found(train(build(smoothing=0.1, num_classes=1), epochs=1), 'label_smoothing')
    assert finding.live is None and 'has one class' in finding.measured


def test_a_threshold_that_undoes_the_smoothing_shows():
    run = build(smoothing=0.125, loss=dict(loss_type='bce', bce_target_thresh=0.2))
    assert found(train(run, epochs=1), 'label_smoothing').live is False


def shapes(sides, **flags):
    """The finding on square batches of given sides, where 6, 8 and 10 px are planned."""
    run = build(train_img_sizes=[6, 8, 10], **flags)
    evidence = watched(run, 'random_shapes')
    evidence.start()
    for side in sides:
        evidence.on_batch(0, torch.zeros(4, 3, side, side), torch.zeros(4, dtype=torch.int64))
        evidence.after_batch(torch.zeros(()))
    return found(evidence, 'random_shapes')


def test_the_sizes_that_arrive_are_counted():
    finding = shapes([6, 8, 8, 10])
    assert finding.live is True and finding.planned == '3 sizes, 6 to 10 px, every batch'
    assert finding.values['shapes'] == {'6x6': 1, '8x8': 2, '10x10': 1}


def test_one_size_only_and_strange_sizes_are_dead():
    # The first is no repetition: 1/3 to the 12th is 1.9e-6, to the 13th 6.3e-7.
    assert shapes([8] * 13).live is None
    assert shapes([8] * 14).live is False
    assert shapes([8] * 50, train_size_schedule='progressive').live is None
    assert shapes([8] * 14, train_size_probs=[1.0, 8.0, 1.0]).live is None  # 0.8 to the 13th
    finding = shapes([6, 12])
    assert finding.live is False and finding.values['not_planned'] == 1


def test_sizes_that_change_no_more_after_a_good_start_are_dead():
    assert shapes([6, 8, 10, 6, 10, 8] * 5).live is True
    finding = shapes([6, 8, 10, 6, 10, 8] * 5 + [10] * 14)
    assert finding.live is False and 'the shape changes no more' in finding.measured
