"""Mixup on and off in time: every kind of worker, both loops, and resume around the switch."""

from __future__ import annotations

import functools
import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.dataset import worker_init_fn
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.runner import Runner
from torch.utils.data import ConcatDataset, DataLoader, Dataset

import tricks_plugin
from tricks_plugin import GeometryPreservingMixUp

pytestmark = pytest.mark.slow


class Numbers(Dataset):
    """Samples whose pixels and label are their number, through a mixup transform.

    Args:
        length: How many there are.
        broken: Numbers that fail to load.
        **params: Of the transform.
    """

    def __init__(self, length=24, broken=(), **params):
        self.length, self.broken = length, broken
        self.pipeline = Compose([GeometryPreservingMixUp(**params)])

    def __len__(self):
        return self.length

    def __getitem__(self, number):
        if number in self.broken:
            raise OSError(f'sample {number} is truncated')
        return self.pipeline(dict(
            img=np.full((4, 6, 3), number, np.uint8), img_id=number,
            gt_bboxes=np.array([[0, 0, 3, 3]], np.float32),
            gt_bboxes_labels=np.array([number]), gt_ignore_flags=np.array([False])))


def epochs(dataset, count, workers=2, persistent=False, order=None, **more):
    """Per epoch, ``(number, partner or None, weight)`` of every sample, as mmengine seeds it."""
    if workers:
        more.update(persistent_workers=persistent, worker_init_fn=functools.partial(
            worker_init_fn, num_workers=workers, rank=0, seed=5))
    torch.manual_seed(1)
    loader = DataLoader(dataset, batch_size=None, num_workers=workers, sampler=order, **more)
    seen = []
    for _ in range(count):
        seen.append([(*[int(label) for label in (*results['gt_bboxes_labels'], -1)[:2]],
                      float(results['gt_mixup_weights'][0])) for results in loader])
    return seen


def of(dataset):
    return dataset.pipeline.transforms[0]


@pytest.mark.parametrize('persistent', [True, False])
@pytest.mark.parametrize('partner', ['cache', 'dataset'])
def test_every_sample_is_mixed_whether_workers_persist_or_not(persistent, partner):
    dataset = Numbers(partner=partner, cache_size=6)
    seen = epochs(dataset, 4, persistent=persistent)
    for epoch in seen:
        assert [number for number, _, _ in epoch] == list(range(24))
        assert all(partner not in (number, -1) and weight != 1
                   for number, partner, weight in epoch)
    # each epoch draws afresh, although mmengine seeds new workers alike every time
    assert len({tuple(epoch) for epoch in seen}) == 4
    assert len({weight for epoch in seen for _, _, weight in epoch}) > 90
    loaded = of(dataset).shared.total('loaded_partners')
    if partner == 'dataset':
        assert loaded == 96
    else:  # some 0.3 x 6 at each of two or eight starts of a worker
        assert (2 if persistent else 8) <= loaded <= (12 if persistent else 48)


def test_partners_are_as_varied_without_persistent_workers_as_with():
    uses = {}
    for persistent in (True, False):
        dataset = Numbers(64, cache_size=8)
        seen = epochs(dataset, 3, persistent=persistent)
        counts = np.bincount([partner for epoch in seen[1:] for _, partner, _ in epoch],
                             minlength=64)
        uses[persistent] = counts.max(), (counts > 0).mean()
    # 128 draws of 64: one or two uses each; a cache that begins with one sample would draw it often
    assert all(most <= 9 and share > 0.7 for most, share in uses.values()), uses


def test_a_cache_whose_dataset_is_unknown_starts_with_one_unmixed_sample():
    dataset = Numbers()
    bare = [dataset[number] for number in range(8)]
    assert [bool((results['gt_mixup_weights'] != 1).any()) for results in bare] == \
        [False] + [True] * 7
    of(dataset).attach(ConcatDataset([Numbers(), dataset]))
    of(dataset)._cache.clear()
    assert (dataset[3]['gt_mixup_weights'] != 1).all()
    assert of(dataset).shared.total('loaded_partners') >= 1


@pytest.mark.parametrize('partner', ['cache', 'dataset'])
def test_a_partner_that_fails_to_load_is_skipped_and_counted(partner):
    dataset = Numbers(12, broken=(2, 5, 7, 8), partner=partner, cache_size=6)
    whole = [number for number in range(12) if number not in dataset.broken]
    seen = epochs(dataset, 3, order=whole)
    for epoch in seen:
        assert [number for number, _, _ in epoch] == whole
        assert not {partner for _, partner, _ in epoch} & set(dataset.broken)
    assert sum(partner >= 0 for epoch in seen for _, partner, _ in epoch) >= 20
    assert of(dataset).shared.total('failed_partners') >= 3


def test_spawned_workers_share_the_switch_the_counts_and_the_dataset():
    dataset = Numbers(6, broken=(2,), partner='dataset')
    loader = DataLoader(dataset, batch_size=None, num_workers=1, sampler=[0, 1, 3, 4, 5] * 4,
                        persistent_workers=True, multiprocessing_context='spawn')
    shares = []
    for enabled in (True, False, True):
        of(dataset).enabled = enabled
        shares.append(sum(len(results['gt_mixup_weights']) == 2 for results in loader))
    assert shares[0] >= 15 and shares[1] == 0 and shares[2] >= 15
    shared = of(dataset).shared
    assert shared.total('loaded_partners') == shares[0] + shares[2]
    assert shared.total('failed_partners') > 0


def test_all_partners_failing_leaves_samples_unmixed_and_logs_the_first_cause():
    dataset = Numbers(6, broken=range(1, 6), partner='dataset')
    of(dataset).attach(dataset)
    lines = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    try:
        for _ in range(5):
            assert dataset[0]['gt_mixup_weights'].tolist() == [1]
    finally:
        logger.removeHandler(handler)
    assert of(dataset).shared.total('failed_partners') > 1 == len(lines)
    assert re.search(r'partner (\d) of Numbers failed to load and is skipped '
                     r'\(OSError: sample \1 is truncated\)', lines[0])


class Still(BaseModel):
    """A model that costs nothing to train."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return dict(loss=self.scale.square().sum())


class Flags(Hook):
    """Notes which batches hold a mixed sample."""

    def __init__(self):
        self.mixed = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.mixed.append(any((sample.gt_instances.mixup_weights != 1).any()
                              for sample in data_batch['data_samples']))


@pytest.fixture()
def train(train_config):
    """Trains the tiny set through the whole path; returns flags per batch and the evidence."""
    MODELS.register_module(name='StillForMixUp', module=Still)
    torch.set_num_threads(1)
    runs = []

    def run(loop, loader, resume=None, save=0, **params):
        cfg = Config(dict(train_config, model=dict(type='StillForMixUp'), train_cfg=loop))
        cfg.train_dataloader.update(loader)
        if save and not resume:
            cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=save,
                                                by_epoch=loop['by_epoch'])
        cfg.resume, cfg.load_from = resume is not None, resume
        cfg.experiment_name = f'mixup-time-{train_config["work_dir"]}-{len(runs)}'
        cfg.log_level = 'INFO'
        cfg, _ = tricks_plugin.apply_tricks(cfg, tricks=dict(mixup=params, strict=True))
        cfg.pop('runner_type', None)
        runner, flags = Runner.from_cfg(cfg), Flags()
        runner.register_hook(flags)
        runs.append(runner)
        runner.train()
        rows = json.loads((Path(cfg.work_dir) / 'tricks_evidence.json').read_text())['tricks']
        return flags.mixed, next(row for row in rows if row['name'] == 'mixup')

    yield run
    MODELS._module_dict.pop('StillForMixUp')


@pytest.mark.parametrize('loader', [
    dict(num_workers=0), dict(num_workers=2, persistent_workers=True),
    dict(num_workers=2, persistent_workers=False)])
def test_epochs_switch_exactly_with_every_kind_of_worker(train, train_config, loader):
    flags, row = train(dict(by_epoch=True, max_epochs=3), loader, off_epochs=1)
    assert flags == [True] * 8 + [False] * 4
    assert row['live'] is True
    values = row['values']
    assert (values['samples'], values['mixed']) == (16, 16)  # the first sample of a worker too
    assert (values['samples_after_switch'], values['mixed_after_switch']) == (8, 0)
    assert values['failed_partners'] == 0 and 0 < values['sample_bytes'] < values['cache_bytes']
    workers = max(loader['num_workers'], 1)
    log = next(Path(train_config['work_dir']).rglob('*.log')).read_text()
    assert f'keep at most {64 * workers} samples, and at most {512 * workers} MB' in log
    assert f'cached so far takes 0.03 MB: {64 * workers} of them' in log


@pytest.mark.parametrize('workers, sampler', [
    (0, 'InfiniteSampler'), (2, 'InfiniteSampler'), (2, 'DefaultSampler')])
def test_iterations_after_the_switch_are_never_mixed(train, workers, sampler):
    flags, row = train(dict(by_epoch=False, max_iters=11), dict(
        num_workers=workers, prefetch_factor=2 if workers else None,
        persistent_workers=bool(workers), sampler=dict(type=sampler)), off_fraction=0.3)
    # 3 of 11 are to be unmixed: off from 8; with workers the switch is turned 4 batches ahead
    assert flags[:8 - 2 * workers] == [True] * (8 - 2 * workers) and flags[8:] == [False] * 3
    assert row['live'] is True and row['values']['mixed_after_switch'] == 0
    assert row['values']['samples_after_switch'] == 6


def test_runs_resumed_before_at_and_after_the_switch_go_on_as_the_whole_one(train, train_config):
    loop, loader = dict(by_epoch=True, max_epochs=4), dict(
        num_workers=2, persistent_workers=True)
    flags, _ = train(loop, loader, save=1, off_epochs=2)
    assert flags == [True] * 8 + [False] * 8
    for epoch in (1, 2, 3):
        resumed, row = train(loop, loader, f'{train_config["work_dir"]}/epoch_{epoch}.pth',
                             off_epochs=2)
        assert resumed == flags[4 * epoch:] and row['live'] is True


def test_iterations_resumed_before_at_and_after_the_switch(train, train_config):
    loop, loader = dict(by_epoch=False, max_iters=8), dict(
        num_workers=0, sampler=dict(type='InfiniteSampler'))
    flags, _ = train(loop, loader, save=2, off_fraction=0.5)
    assert flags == [True] * 4 + [False] * 4
    for done in (2, 4):
        resumed, _ = train(loop, loader, f'{train_config["work_dir"]}/iter_{done}.pth',
                           off_fraction=0.5)
        assert resumed == flags[done:]
    resumed, _ = train(loop, dict(loader, num_workers=1, prefetch_factor=2),
                       f'{train_config["work_dir"]}/iter_6.pth', off_fraction=0.5)
    assert resumed == flags[6:]
