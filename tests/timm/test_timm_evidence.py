"""What the evidence of a timm training says of targets and learning rates, and when."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch
from timm_evidence_kit import build, found, train
from tricks_plugin.timm.evidence.schedule import Curve

from tricks_plugin.plan.errors import TrickError
from tricks_plugin.timm.evidence import TimmEvidence


@pytest.fixture(autouse=True)
def _same_draws():
    np.random.seed(3)
    torch.manual_seed(3)


CURVES = [
    dict(warmup_epochs=1, warmup_lr=0.0, warmup_prefix=True, epochs=3),
    dict(warmup_epochs=1, warmup_lr=1e-3, min_lr=1e-3),
    dict(warmup_epochs=2, warmup_lr=0.0, warmup_prefix=True, sched_on_updates=False),
    dict(sched='multistep', decay_milestones=[2, 3], sched_on_updates=False),
    dict(sched='multistep', decay_milestones=[2, 3], warmup_epochs=1, warmup_prefix=True),
    dict(sched='step', decay_epochs=1.5, decay_rate=0.3),
    dict(sched='constant', warmup_epochs=2, sched_on_updates=False),
    dict(layer_decay=0.5, warmup_epochs=1, warmup_lr=0.01),
]


@pytest.mark.parametrize('flags', CURVES)
def test_timms_schedules_follow_their_closed_form_and_a_shifted_one_does_not(flags):
    finding = found(train(build(**flags)), 'sched')
    assert finding.live is True, finding.measured
    assert finding.values['max_relative_deviation'] < 1e-12
    finding = found(train(build(**flags), late=1), 'sched')
    assert finding.live is False
    assert 'off the curve' in finding.measured


def test_the_telling_rates_are_named():
    run = build(lr=0.8, warmup_epochs=1, warmup_lr=0.0, warmup_prefix=True, epochs=3)
    finding = found(train(run, 'cosine_warmup'), 'cosine_warmup')
    assert finding.planned == ('from 0 to the base LR in 4 updates, then cosine to 0 at update 16')
    values = finding.values
    assert (values['lr_first'], values['lr_warmup_end'], values['warmup_end_at']) == (0.0, 0.8, 4)
    # 11/12 of the half turn: 0.4 (1 + cos 165 deg), and cos 165 deg is -0.9659258263.
    assert values['lr_last'] == pytest.approx(0.01362966948, rel=1e-9)


def test_a_rate_after_a_resume_follows_the_curve():
    assert found(train(build(start_epoch=2, warmup_epochs=1)), 'sched').live is True


def test_the_multi_step_curve_falls_one_epoch_before_its_milestone_as_timms_does():
    run = build(sched='multistep', decay_milestones=[3, 5], sched_on_updates=False, lr=0.8)
    curve = Curve.from_args(run.args, 4)
    assert [curve.at(epoch, 0.8) for epoch in range(6)] == pytest.approx(
        [0.8, 0.8, 0.08, 0.08, 0.008, 0.008])


def test_a_schedule_without_closed_form_is_live_once_the_rate_changes():
    run = build(sched='poly', epochs=2)
    evidence = train(run, epochs=2)
    assert found(evidence, 'sched').live is True
    assert 'not compared' in found(evidence, 'sched').measured
    assert found(train(build(sched='cosine', lr_k_decay=2.0), epochs=1), 'sched').live is True
    assert 'sched' not in TimmEvidence(build(sched='none')).measurements


def test_a_promised_cosine_that_is_another_schedule_is_dead():
    finding = found(train(build(sched='step'), 'cosine_warmup', epochs=1), 'cosine_warmup')
    assert finding.live is False and finding.planned == 'schedule cosine'


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
    assert all(0 < r['cost'] < 1 for r in everything)
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
