"""What a training shows and leaves beside its numbers."""

from __future__ import annotations

import argparse
import csv
import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from support.timm_train import TINY

from tricks_plugin.timm.build import build_run
from tricks_plugin.timm.output import Output
from tricks_plugin.timm.progress import Progress
from tricks_plugin.timm.train import main

pytestmark = pytest.mark.slow

Settings = Callable[..., argparse.Namespace]
NUMBERS = dict(loss=2.0, now=1.5, lr=0.1, images=64, waiting=0.0)


def test_a_log_gets_a_line_per_interval_and_one_at_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    progress = Progress(4, terminal=False)
    progress.begin('epoch 3', 10)
    with caplog.at_level(logging.INFO, 'tricks_plugin'):
        for index in range(10):
            wanted = progress.wants(index, index == 9)
            progress.advance(index, **(NUMBERS if wanted else {}))
    progress.end()
    assert [record.getMessage().split(']')[0] for record in caplog.records] == [
        'epoch 3 [1/10', 'epoch 3 [5/10', 'epoch 3 [9/10', 'epoch 3 [10/10']
    assert 'loss 1.5 (mean 2)  lr 1.000e-01' in caplog.records[0].getMessage()


def test_a_terminal_gets_a_bar_and_one_line_per_epoch(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture,
) -> None:
    progress = Progress(1, terminal=True)
    progress.begin('epoch 0', 3)
    with caplog.at_level(logging.INFO, 'tricks_plugin'):
        for index in range(3):
            progress.advance(index, **NUMBERS)
        progress.end()
    assert len(caplog.records) == 1
    assert 'epoch 0' in capfd.readouterr().err


def test_processes_that_are_not_the_first_show_nothing() -> None:
    progress = Progress(1, shown=False, terminal=True)
    assert not progress.terminal and not progress.wants(0, True)


def test_recovery_checkpoints_come_at_their_interval_whatever_is_logged(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([str(images), *TINY, '--epochs', '1', '--warmup-epochs', '0', '--output',
                 str(tmp_path), '--experiment', 'run', '--recovery-interval', '2',
                 '--save-images', '--tta', '0']) == 0
    # Updates 2, 4 and 6 of six; timm keeps the last two.
    assert sorted(path.name for path in (tmp_path / 'run').glob('recovery*')) == [
        'recovery-0-3.pth.tar', 'recovery-0-5.pth.tar']
    state = torch.load(tmp_path / 'run' / 'recovery-0-5.pth.tar', weights_only=False)
    assert state['epoch'] == 0 and 'optimizer' in state
    assert Image.open(tmp_path / 'run' / 'train-batch-0.jpg').size == (4 * 32, 32)
    assert '--result\n[' in capsys.readouterr().out


def test_without_validation_the_loss_ranks(images: Path, tmp_path: Path) -> None:
    assert main([str(images / 'train'), *TINY, '--val-split', '', '--epochs', '2', '--output',
                 str(tmp_path), '--experiment', 'run', '--warmup-epochs', '1']) == 0
    with (tmp_path / 'run' / 'summary.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ['epoch', 'train_loss', 'lr'] and len(rows) == 2
    best = torch.load(tmp_path / 'run' / 'model_best.pth.tar', weights_only=False)
    assert best['metric'] == pytest.approx(min(float(row['train_loss']) for row in rows))


def test_an_epoch_without_sound_numbers_is_not_printed_as_the_best(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / 'run').mkdir()
    for name in ('tricks_evidence.json', 'tricks_plan.json'):
        (tmp_path / 'run' / name).write_text('of the run before')
    args = settings('--output', str(tmp_path), '--experiment', 'run')
    output = Output(build_run(args, torch.device('cpu')), 'text: 1\n', None)
    assert [path.name for path in (tmp_path / 'run').iterdir()] == ['args.yaml']
    output.epoch(0, {'loss': 1.0}, {'loss': 1.0, 'top1': 30.0, 'top5': 100.0})
    output.epoch(1, {'loss': 1.0}, {'loss': float('nan'), 'top1': 90.0, 'top5': 100.0})
    output.close()
    found = json.loads(capsys.readouterr().out.partition('--result')[2])
    assert [row['epoch'] for row in found] == [1, 0]
    best = torch.load(tmp_path / 'run' / 'model_best.pth.tar', weights_only=False)
    assert best['epoch'] == 0


def test_wandb_that_is_not_installed_is_said_and_passed_over(
    images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__('sys').modules, 'wandb', None)
    assert main([str(images), *TINY, '--epochs', '1', '--warmup-epochs', '0', '--output',
                 str(tmp_path), '--experiment', 'run', '--log-wandb']) == 0
    assert 'wandb is not installed' in caplog.text


def test_an_interrupt_says_how_to_go_on(
    images: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tricks_plugin.timm import loop
    real, calls = loop.train_epoch, []

    def interrupted(*args: object) -> object:
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, 'train_epoch', interrupted)
    assert main([str(images), *TINY, '--epochs', '3', '--warmup-epochs', '1', '--output',
                 str(tmp_path), '--experiment', 'run']) == 130
    assert f'interrupted in epoch 1; go on with --resume {tmp_path}/run/last.pth.tar' in caplog.text
    assert torch.load(tmp_path / 'run' / 'last.pth.tar', weights_only=False)['epoch'] == 0
