"""Timers in timm's datasets: reader, decoding, transforms."""

from __future__ import annotations

import pytest
import torch
from support.timm_train import settings_of, write_images

from tricks_plugin.common.sample_times import measure, probe_now
from tricks_plugin.common.step_timer import StepTimer
from tricks_plugin.common.waiting.cache import Cache
from tricks_plugin.common.waiting.monitor import describe
from tricks_plugin.timm.data import build_datasets, build_loaders
from tricks_plugin.timm.sample_times import instrument, pipeline_of

pytestmark = pytest.mark.slow


def loader_of(folder, **flags):
    settings = dict(data_dir=str(folder), train_split='train', val_split='', rank=0, world_size=1,
                    distributed=False, seed=3, num_classes=3)
    args = settings_of(**{**settings, **flags})
    config = dict(input_size=(3, 32, 32), mean=(0.5,) * 3, std=(0.5,) * 3,
                  interpolation='bilinear', crop_pct=1.0)
    train, _ = build_datasets(args, 'RGB')
    loader, _ = build_loaders(args, train, None, None, config, torch.device('cpu'), torch.float32)
    return getattr(loader, 'loader', loader)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp('images')
    write_images(root / 'train', per_class=4)
    return root


def test_reading_decoding_and_transforms_come_apart_and_add_up(folder):
    loader = loader_of(folder, no_aug=False)
    assert pipeline_of(loader.dataset)[:-1] == [
        'ReaderImageFolder', 'RandomResizedCropAndInterpolation', 'RandomHorizontalFlip',
        'ColorJitter']
    times = measure(loader.dataset, [[0, 5], [7]], loader.collate_fn, instrument)
    kinds = [part.kind for part in times.parts]
    assert kinds[:3] == ['dataset', 'reading', 'decoding'] and kinds[-1] == 'batching'
    assert set(kinds[3:-1]) == {'transform'}
    assert times.seconds == pytest.approx(sum(times.parts.values()), rel=1e-12)
    assert times.samples == 3


def test_the_cache_behind_a_reader_is_known_to_the_monitor(folder, tmp_path):
    plain = loader_of(folder)
    assert describe(plain, [], 1, 2, 10)[1].cache() == Cache()
    cached = loader_of(folder, data_cache='decoded', data_cache_folder=str(tmp_path / 'cache'),
                       data_cache_mb=5)
    assert describe(cached, [], 1, 2, 10)[1].cache() == Cache('decoded')
    cached.dataset[0]
    assert describe(cached, [], 1, 2, 10)[1].cache() == Cache('decoded', filling=True)


def test_the_samples_are_those_of_the_dataset(folder):
    plain, timed = loader_of(folder).dataset, loader_of(folder).dataset
    timed = instrument(timed, StepTimer())
    for index in (0, 11):
        image, target = plain[index]
        again, same = timed[index]
        assert target == same and (image == again).all()
    assert len(timed) == 12 and timed.filename(3) == plain.filename(3)


def test_scheduled_sizes_and_split_augmentations_are_measured(folder):
    sizes = loader_of(folder, train_img_sizes=[[32, 32], [64, 64]], train_batch_sizes=[4, 1],
                      train_size_schedule='constant', no_aug=False)
    assert probe_now(sizes, instrument, 3).samples == 3
    # Batches of 4 and of 1 image.
    assert describe(sizes, [], 1, 2, 10)[1].batch_size in (2, 3)
    split = loader_of(folder, aug_splits=2, no_aug=False, aa='rand-m5')
    found = [part.name for part in probe_now(split, instrument, 2).parts]
    assert 'RandAugment' in found and 'ImageDataset: decoding' in found
