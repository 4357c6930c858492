"""The monitor of the data in the timm trainer."""

from __future__ import annotations

import itertools
import json
import logging
import sys
import time
import types
from pathlib import Path

import pytest
import torch
from support.timm_train import TINY, write_images
from torchvision import transforms

from tricks_plugin.common.waiting.meter import WaitMeter
from tricks_plugin.timm.data_watch import DataWatch
from tricks_plugin.timm.train import main

pytestmark = pytest.mark.slow


class Fidget:
    """A transform that takes its time."""

    def __call__(self, image):
        time.sleep(0.02)
        return image


class Nobody:
    def __init__(self):
        self.calls = []

    def on_ask(self, first):
        self.calls.append('ask')

    def on_batch(self, epoch, images, targets):
        self.calls.append('batch')

    def after_batch(self, loss):
        self.calls.append('after')


class Numbers(torch.utils.data.Dataset):
    def __init__(self, transform):
        self.transform = transforms.Compose(transform)

    def __len__(self):
        return 24

    def __getitem__(self, index):
        return self.transform(torch.zeros(3, 4, 4)), 0


def watch_of(folder, transform, log_wandb=False):
    loader = torch.utils.data.DataLoader(Numbers(transform), batch_size=2, num_workers=0)
    inner = Nobody()
    run = types.SimpleNamespace(
        loader_train=loader, num_epochs=2, device=torch.device('cpu'), output_dir=folder,
        primary=True, args=types.SimpleNamespace(world_size=1, log_wandb=log_wandb))
    return DataWatch(run, inner), loader, inner


def epochs(watch, loader, step=lambda: None):
    for epoch in range(4):
        watch.on_ask(first=True)
        for images, targets in loader:
            watch.on_batch(epoch, images, targets)
            step()
            watch.after_batch(torch.zeros(()))
            watch.on_ask(first=False)
        watch.epoch_end()
    watch.close()


def test_a_slow_transform_is_named_and_everything_is_handed_on(tmp_path, caplog):
    watch, loader, inner = watch_of(tmp_path, [Fidget()])
    with caplog.at_level(logging.INFO, 'tricks_plugin'):
        epochs(watch, loader)
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == 1 and 'To blame: the transform Fidget' in texts[0]
    assert inner.calls == (['ask'] + ['batch', 'after', 'ask'] * 12) * 4
    saved = json.loads((tmp_path / 'data_monitor.json').read_text())
    assert saved['settings']['pipeline'] == ['Fidget'] and saved['settings']['batch_size'] == 2
    assert watch.monitor.meter.iterations == 48


def test_a_run_without_a_bottleneck_is_left_in_peace(tmp_path, caplog):
    watch, loader, _ = watch_of(tmp_path, [])
    clock = itertools.count()
    # By this clock each waiting and each step takes one tick; another 19 make a step of 20.
    watch.monitor.meter = WaitMeter(lambda: next(clock))
    with caplog.at_level(logging.INFO, 'tricks_plugin'):
        epochs(watch, loader, lambda: [next(clock) for _ in range(19)])
    assert not caplog.records
    saved = json.loads((tmp_path / 'data_monitor.json').read_text())
    assert 'sample' not in saved and 0.04 < saved['share'] < 0.1


def test_wandb_gets_the_share_of_each_epoch(tmp_path, monkeypatch):
    logged = []
    monkeypatch.setitem(sys.modules, 'wandb', types.SimpleNamespace(
        log=lambda values, commit: logged.append((values, commit))))
    watch, loader, _ = watch_of(tmp_path, [Fidget()], log_wandb=True)
    epochs(watch, loader)
    assert len(logged) == 4
    assert all(0 < values['train_data_wait'] <= 1 and not commit for values, commit in logged)


def test_the_trainer_has_it_in_every_run(tmp_path, capsys):
    pytest.importorskip('timm')
    write_images(tmp_path / 'data' / 'train', per_class=16)
    write_images(tmp_path / 'data' / 'val', per_class=2)
    assert main([str(tmp_path / 'data'), *TINY, '--epochs', '5', '--warmup-epochs', '0',
                 '--output', str(tmp_path), '--experiment', 'run']) == 0
    saved = json.loads(Path(tmp_path / 'run' / 'data_monitor.json').read_text())
    # 12 batches in each of 5 epochs; the first look, at the tenth, has seen 9 of them done.
    assert saved['iterations'] == 60 - 9
    assert 0 < saved['share'] < 1
