"""What the evidence of a timm training says of targets and learning rates, and when."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch
from timm.loss import BinaryCrossEntropy, JsdCrossEntropy, LabelSmoothingCrossEntropy
from timm_evidence_kit import build, found, plan_of, train
from tricks_plugin.timm.evidence.smoothing import effective_targets

from tricks_plugin.plan.errors import TrickError
from tricks_plugin.timm.evidence import TimmEvidence


@pytest.fixture(autouse=True)
def _same_draws():
    np.random.seed(3)
    torch.manual_seed(3)


def test_mixup_is_seen_before_its_off_epoch_and_never_after_it():
    run = build(mixup=0.2, smoothing=0.1, mixup_off_epoch=2, updates_per_epoch=10)
    finding = found(train(run), 'mixup')
    assert finding.live is True
    assert finding.planned == 'mixup 0.2, off from epoch 2'
    values = finding.values
    assert (values['batches'], values['batches_after_switch']) == (20, 20)
    assert values['samples_after_switch'] == 160 and values['mixed_samples_after_switch'] == 0
    assert values['mixed_batches'] >= 18 and 0 < values['share_mean'] < values['share_max'] <= 0.5


def test_mixup_that_ignores_its_off_epoch_is_dead():
    run = build(mixup=0.2, smoothing=0.1, mixup_off_epoch=2, updates_per_epoch=10)
    finding = found(train(run, off_works=False), 'mixup')
    assert finding.live is False
    assert finding.values['mixed_batches_after_switch'] > 10


def test_one_mixed_batch_after_many_clean_ones_is_found():
    run = build(mixup=0.2, mixup_off_epoch=1)
    evidence = TimmEvidence(run)
    images, clean = torch.zeros(2, 3, 8, 8), torch.eye(5)[:2]
    mixed = torch.tensor([[0.999, 0.001, 0, 0, 0], [0.001, 0.999, 0, 0, 0]])
    for index in range(100):
        evidence.on_batch(1, images, mixed if index == 77 else clean)
    finding = found(evidence, 'mixup')
    assert finding.live is False
    assert (finding.values['mixed_batches_after_switch'],
            finding.values['mixed_samples_after_switch']) == (1, 2)


def test_the_share_of_the_second_class_is_read_from_smoothed_targets():
    evidence = TimmEvidence(build(mixup=0.2, smoothing=0.5))
    # Background 0.1; 0.7 of class 0 and 0.3 of class 4: 0.1 + 0.5 * lam.
    rows = torch.tensor([[0.45, 0.1, 0.1, 0.1, 0.25], [0.6, 0.1, 0.1, 0.1, 0.1]])
    evidence.on_batch(0, torch.zeros(2, 3, 8, 8), rows)
    values = found(evidence, 'mixup').values
    assert (values['samples'], values['mixed_samples']) == (2, 1)
    assert values['share_mean'] == pytest.approx(0.3, abs=1e-6)


def test_targets_that_never_mix_are_a_dead_mixup_only_after_several_batches():
    run = build(mixup=0.2, mixup_off_epoch=0)
    run.mixup.mixup_enabled = False
    assert found(train(run, epochs=1), 'mixup').live is None
    assert found(train(run, epochs=3), 'mixup').live is False


def test_partners_of_one_class_do_not_make_mixup_dead_where_others_mix():
    # Of the four pairs three hold one class twice.
    run = build(mixup=1.0, updates_per_epoch=10)
    finding = found(train(run, epochs=1, classes=[0, 1, 2, 3, 4, 2, 1, 0]), 'mixup')
    assert finding.live is True
    assert finding.values['mixed_samples'] == 2 * finding.values['mixed_batches']


def test_two_classes_and_class_numbers_are_read_too():
    run = build(mixup=1.0, smoothing=0.1, num_classes=2, mixup_off_epoch=1)
    finding = found(train(run, epochs=2), 'mixup')
    assert finding.live is True and finding.values['mixed_samples_after_switch'] == 0
    evidence = TimmEvidence(build(), plan_of('mixup'))
    for _ in range(8):
        evidence.on_batch(0, torch.zeros(4, 3, 8, 8), torch.arange(4))
    assert found(evidence, 'mixup').live is False


def test_a_resume_behind_the_off_epoch_starts_anew():
    run = build(mixup=0.2, mixup_off_epoch=1, start_epoch=2)
    finding = found(train(run), 'mixup')
    assert finding.live is True
    assert (finding.values['batches'], finding.values['batches_after_switch']) == (0, 8)


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
    found = effective_targets(criterion, LABELS, 5)
    wanted = torch.full((3, 5), other, dtype=torch.float64)
    wanted[torch.arange(3), LABELS] = true
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize('mixup', [0.0, 0.2])
def test_smoothing_is_measured_with_and_without_mixup(mixup):
    # s = 0.125 of 5 classes is He's 0.1: others 0.025, true 0.9.
    finding = found(train(build(smoothing=0.125, mixup=mixup, mixup_off_epoch=1)),
                    'label_smoothing')
    assert finding.live is True
    assert finding.planned == 'true 0.9, others 0.025 of 5 classes'
    assert finding.values['smallest'] == pytest.approx(0.025, rel=1e-6)
    assert finding.values['largest'] == pytest.approx(0.9, rel=1e-6)
    assert finding.values['he_eps'] == pytest.approx(0.1, rel=1e-6)
    assert 'smoothing 0.125, which is He\'s eps 0.1' in finding.measured


@pytest.mark.parametrize('actual', [0.0, 0.1])
def test_a_criterion_that_smooths_otherwise_is_a_dead_smoothing(actual):
    run = build(smoothing=0.125)
    run.task.criterion = LabelSmoothingCrossEntropy(actual)
    finding = found(train(run, epochs=1), 'label_smoothing')
    assert finding.live is False
    assert finding.values['smoothing'] == pytest.approx(actual, abs=1e-12)


def test_a_threshold_that_undoes_the_smoothing_shows():
    run = build(smoothing=0.125, loss=dict(loss_type='bce', bce_target_thresh=0.2))
    assert found(train(run, epochs=1), 'label_smoothing').live is False


def test_reports_come_after_the_first_epoch_at_the_switch_and_at_the_end(tmp_path, caplog):
    run = build(mixup=0.2, mixup_off_epoch=2, output_dir=tmp_path, updates_per_epoch=10)
    with caplog.at_level(logging.INFO, 'tricks_plugin'):
        evidence = train(run, 'mixup', 'mystery')
        evidence.close()
    saved = json.loads((tmp_path / 'tricks_evidence.json').read_text())
    everything = [*saved['history'], saved]
    assert [(r['when'], r['epoch'], r['iteration']) for r in everything] == [
        ('after the first epoch', 0, 9), ('after mixup went off', 2, 29), ('at the end', 3, 39)]
    rows = {row['name']: row for row in saved['tricks']}
    assert rows['mixup']['live'] is True and rows['mixup']['values']['batches'] == 20
    assert rows['mystery']['live'] is None and 'no measurement' in rows['mystery']['measured']
    assert {'no_bias_decay', 'sched'} <= rows.keys()
    assert all(0 <= r['cost'] <= 1 for r in everything)
    assert not list(tmp_path.glob('*.part'))
    assert sum('planned' in record.message and '┃' in record.message
               for record in caplog.records) == 3
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_dead_trick_is_an_error_in_the_log_as_soon_as_an_epoch_shows_it(tmp_path, caplog):
    run = build(mixup=0.2, mixup_off_epoch=3, output_dir=tmp_path, epochs=5)
    with caplog.at_level(logging.INFO, 'tricks_plugin'):
        train(run, off_works=False)
    errors = [record.getMessage() for record in caplog.records
              if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert errors[0].startswith("trick 'mixup' shows no effect: planned mixup 0.2, off from epoch")


def test_a_dead_trick_stops_a_strict_run_and_leaves_its_report(tmp_path):
    run = build(smoothing=0.1, output_dir=tmp_path)
    run.task.criterion = torch.nn.CrossEntropyLoss()
    with pytest.raises(TrickError, match=r'without effect under strict: label_smoothing \(see'):
        train(run, strict=True)
    assert json.loads((tmp_path / 'tricks_evidence.json').read_text())['epoch'] == 0


def test_other_processes_measure_and_write_nothing(tmp_path):
    evidence = train(build(rank=1, mixup=0.2, output_dir=tmp_path))
    evidence.close()
    assert evidence.measurements == {} and not list(tmp_path.iterdir())
