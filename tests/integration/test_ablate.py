"""An ablation from the command line to its report, with each trainer."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.timm_train import TINY, write_images

from tricks_plugin.ablate.launch import Handle, Local
from tricks_plugin.cli.ablate import main
from tricks_plugin.common.door import run_door

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
CONFIG = f'''
_base_ = '{ROOT}/configs/demo/yolov3_digits.py'
train_dataloader = dict(batch_size=4, num_workers=1,
                        sampler=dict(_delete_=True, type='InfiniteSampler', shuffle=True))
val_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False)
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=3, val_interval=2)
param_scheduler = []
log_processor = dict(by_epoch=False)
'''


class Forked(Handle):
    """A run in a copy of this process, which need not import everything anew.

    OpenMP's threads are not copied, and the copy would wait for them for ever: it has one thread.
    """

    def __init__(self, command: list[str], log: Path) -> None:
        self._code: int | None = None
        self._pid = os.fork()
        if self._pid == 0:
            code = 1
            try:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                torch.set_num_threads(1)
                with log.open('wb') as file:
                    os.dup2(file.fileno(), 1)
                    os.dup2(file.fileno(), 2)
                module = importlib.import_module(command[2])
                code = run_door(lambda: module.main(command[3:]))
            finally:
                os._exit(code)

    def status(self) -> int | None:
        if self._code is None:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code

    def stop(self) -> None:
        if self.status() is None:
            os.kill(self._pid, signal.SIGKILL)


@pytest.fixture()
def ablate(monkeypatch):
    """Runs the command here, and its trainings in copies of this process."""
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
    monkeypatch.setattr(Local, 'start', lambda self, command, log, slot: Forked(command, log))
    return lambda *words: main(list(words))


def runs(out: Path) -> dict[str, dict]:
    return {path.parent.parent.name: json.loads(path.read_text())
            for path in out.glob('runs/*/*/seed0/result.json')}


@pytest.mark.slow
def test_a_config_with_and_without_mixup(tmp_path, ablate, monkeypatch):
    pytest.importorskip('mmdet')
    digits = tmp_path / 'digits'
    subprocess.run([sys.executable, ROOT / 'examples' / 'make_digits.py', '--out', digits,
                    '--train', '8', '--val', '2'], check=True, capture_output=True)
    config, out = tmp_path / 'x.py', tmp_path / 'out'
    config.write_text(CONFIG)
    monkeypatch.setenv('DIGITS_ROOT', f'{digits}/')
    assert ablate(str(config), '--tricks', 'mixup', '--seeds', '1', '--out', str(out)) == 0
    found = runs(out)
    assert set(found) == {'plain', 'mixup'}
    plain, mixup = found['plain'], found['mixup']
    assert plain['weights'] == mixup['weights'] and plain['order'] == mixup['order'] != ''
    assert plain['metric'] == 'coco/bbox_mAP' and 0 <= plain['value'] <= 1
    # Every second iteration, and at the end.
    assert [point['iteration'] for point in plain['curve']] == [2, 3]
    assert all(point['epoch'] is None for point in plain['curve'])
    assert {check['trick']: check['live'] for check in mixup['checks']}['mixup'] is not False
    assert (out / 'runs' / 'x' / 'plain' / 'seed0' / 'work' / 'iter_3.pth').is_file()
    study = json.loads((out / 'study.json').read_text())
    assert study['subjects'][0]['images_per_s'] > 0 and study['subjects'][0]['parameters'] > 1e5
    assert not any('begins' in note for note in study['notes'])
    assert '<html' in (out / 'report.html').read_text()


@pytest.mark.slow
def test_a_timm_model_with_and_without_mixup(tmp_path, ablate):
    images, out = tmp_path / 'images', tmp_path / 'out'
    write_images(images / 'train', 4)
    write_images(images / 'val', 2)
    assert ablate('timm', '--tricks', 'mixup', '--trick-options', 'mixup.alpha=1.0', '--seeds',
                  '1', '--out', str(out), '--', str(images), *TINY, '--workers', '1', '--epochs',
                  '2', '--lr', '0.05', '--val-interval', '5') == 0
    found = runs(out)
    plain, mixup = found['plain'], found['mixup']
    assert plain['weights'] == mixup['weights'] and plain['order'] == mixup['order'] != ''
    assert [point['epoch'] for point in plain['curve']] == [2] and plain['metric'] == 'top1'
    assert {check['trick']: check['live'] for check in mixup['checks']}['mixup'] is True
    work = out / 'runs' / 'resnet18' / 'plain' / 'seed0' / 'work'
    assert [path.name for path in work.glob('*.pth.tar')] == ['last.pth.tar']
    study = json.loads((out / 'study.json').read_text())
    assert study['subjects'][0]['images_per_s'] > 0
    assert any('Inference throughput' in note for note in study['notes'])
