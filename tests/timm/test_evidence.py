"""When a timm training's evidence reports, and what a dead trick does to the run."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch
from support.timm_evidence import build, train

from tricks_plugin.plan.errors import TrickError


@pytest.fixture(autouse=True)
def _same_draws():
    np.random.seed(3)
    torch.manual_seed(3)


def test_reports_come_after_the_first_epoch_at_the_switch_and_at_the_end(tmp_path, caplog):
    run = build(mixup=0.2, mixup_off_epoch=2, output_dir=tmp_path, updates_per_epoch=10)
    with caplog.at_level(logging.INFO, 'tricks_plugin'):
        evidence = train(run, 'mixup')
        evidence.close()
    saved = json.loads((tmp_path / 'tricks_evidence.json').read_text())
    everything = [*saved['history'], saved]
    assert [(r['when'], r['epoch'], r['iteration']) for r in everything] == [
        ('after the first epoch', 0, 9), ('mixup switched', 2, 29), ('at the end', 3, 39)]
    rows = {row['name']: row for row in saved['tricks']}
    assert rows['mixup']['live'] is True and rows['mixup']['values']['batches'] == 20
    assert 'no_bias_decay' in rows
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
    assert errors[0].startswith("trick 'mixup' shows no effect: planned alpha 0.2, off from epoch")


def test_a_dead_trick_stops_a_strict_run_and_leaves_its_report(tmp_path):
    run = build(smoothing=0.1, output_dir=tmp_path)
    run.task.criterion = torch.nn.CrossEntropyLoss()
    with pytest.raises(TrickError, match='under tricks.strict=True: label_smoothing'):
        train(run, 'label_smoothing', strict=True)
    assert json.loads((tmp_path / 'tricks_evidence.json').read_text())['epoch'] == 0


def test_other_processes_measure_and_write_nothing(tmp_path):
    evidence = train(build(rank=1, mixup=0.2, output_dir=tmp_path))
    evidence.close()
    assert evidence.monitor.measurements == {} and not list(tmp_path.iterdir())
