"""Datasets and loaders: where the images are found, what is refused, and exact seeds."""

from __future__ import annotations

import argparse
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.timm_train import write_images
from torch.utils.data import DataLoader, Dataset

from tricks_plugin.plan.errors import TrickError
from tricks_plugin.timm.data import build_datasets, build_loaders
from tricks_plugin.timm.samples import EpochSeeded, seed_everything, set_epoch

pytestmark = pytest.mark.slow

Settings = Callable[..., argparse.Namespace]
DATA = dict(input_size=(3, 32, 32), mean=(0.5,) * 3, std=(0.5,) * 3, interpolation='bilinear',
            crop_pct=1.0)


class Draws(Dataset):
    """Each sample is a number from each of the three generators."""

    transform = None

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor([np.random.rand(), torch.rand(()).item(), index])

    def __len__(self) -> int:
        return 8


def test_folders_named_by_split_or_synonym_are_found(settings: Settings, images: Path) -> None:
    train, val = build_datasets(settings(), 'RGB')
    assert (len(train), len(val)) == (24, 9)
    assert train.filename(0, basename=True) == '000.jpg'
    picture, label = val[8]
    assert picture.size == (40, 36) and label == 2


def test_tars_beside_one_another_are_found(
    settings: Settings, images: Path, tmp_path: Path,
) -> None:
    for split in ('train', 'val'):
        with tarfile.open(tmp_path / f'{split}.tar', 'w') as tar:
            tar.add(images / split, arcname='.')
    train, val = build_datasets(settings('--data-dir', str(tmp_path)), 'RGB')
    assert (len(train), len(val)) == (24, 9)
    assert np.asarray(val[0][0]).mean() == pytest.approx(35, abs=5)  # class 0: grey 0 to 70
    train, val = build_datasets(
        settings('--data-dir', str(tmp_path / 'train.tar'), '--val-split', ''), 'RGB')
    assert len(train) == 24 and val is None


@pytest.mark.parametrize(('make', 'words'), [
    (lambda root: root / 'nowhere', r'--data-dir .*nowhere is not there'),
    (lambda root: root / 'nowhere.tar', r'--data-dir .*nowhere.tar is not there'),
    (lambda root: (root / 'empty').mkdir() or root / 'empty',
     r"--train-split must be .*empty, which holds no folder and no tar, got 'train'"),
])
def test_missing_and_empty_paths_are_refused(
    settings: Settings, tmp_path: Path, make: Callable[[Path], Path], words: str,
) -> None:
    with pytest.raises(TrickError, match=words):
        build_datasets(settings('--data-dir', str(make(tmp_path))), 'RGB')


def test_images_without_class_folders_are_refused(settings: Settings, tmp_path: Path) -> None:
    def alone(path: str) -> argparse.Namespace:
        return settings('--data-dir', path, '--val-split', '')

    (tmp_path / 'train').mkdir()
    Image.new('RGB', (8, 8)).save(tmp_path / 'train' / 'a.png')
    with pytest.raises(TrickError, match='in no class folders, so there are no classes'):
        build_datasets(settings('--data-dir', str(tmp_path)), 'RGB')
    with tarfile.open(tmp_path / 'flat.tar', 'w') as tar:
        tar.add(tmp_path / 'train' / 'a.png', arcname='a.png')
    with pytest.raises(TrickError, match='flat.tar: the images lie in no class folders'):
        build_datasets(alone(str(tmp_path / 'flat.tar')), 'RGB')
    with tarfile.open(tmp_path / 'empty.tar', 'w'):
        pass
    with pytest.raises(TrickError, match="cannot read split 'train' of .*empty.tar"):
        build_datasets(alone(str(tmp_path / 'empty.tar')), 'RGB')
    (tmp_path / 'text.tar').write_text('no tar at all')
    with pytest.raises(TrickError, match="cannot read split 'train' of .*text.tar"):
        build_datasets(alone(str(tmp_path / 'text.tar')), 'RGB')


def test_more_classes_than_the_model_has_are_refused(settings: Settings, images: Path) -> None:
    with pytest.raises(TrickError, match='--num-classes 2 is less than the 3 classes of train'):
        build_datasets(settings('--num-classes', '2'), 'RGB')


def test_a_class_that_changes_its_number_is_refused(
    settings: Settings, images: Path, tmp_path: Path,
) -> None:
    shutil.copytree(images / 'train', tmp_path / 'train')
    write_images(tmp_path / 'val', 1, ('bee', 'cat'))
    with pytest.raises(TrickError, match="class 'bee' is number 1 in training and number 0 in "
                                         'validation'):
        build_datasets(settings('--data-dir', str(tmp_path)), 'RGB')


def test_fewer_classes_than_the_model_has_are_named(
    settings: Settings, caplog: pytest.LogCaptureFixture,
) -> None:
    build_datasets(settings('--num-classes', '1000'), 'RGB')
    assert 'the model has 1000 classes, the training images only 3' in caplog.text


def test_too_few_images_for_a_batch_are_refused(settings: Settings) -> None:
    args = settings('--batch-size', '32')
    train, val = build_datasets(args, 'RGB')
    with pytest.raises(TrickError, match='24 training images in 1 processes do not fill one batch '
                                         'of --batch-size 32'):
        build_loaders(args, train, val, None, DATA, torch.device('cpu'), torch.float32)


def test_scheduled_sizes_arrive_and_an_epoch_repeats_them(settings: Settings) -> None:
    args = settings('--train-img-sizes', '32', '64', '--train-size-probs', '1', '1')
    train, val = build_datasets(args, 'RGB')
    loader, _ = build_loaders(args, train, val, None, DATA, torch.device('cpu'), torch.float32)
    seen = []
    for epoch in (0, 1, 0):
        seed_everything(args.seed, epoch, 0)
        set_epoch(loader, epoch)
        seen.append([(tuple(images.shape), float(images.sum())) for images, _ in loader])
    assert seen[0] == seen[2] != seen[1]
    assert {shape for shape, _ in seen[0] + seen[1]} == {(4, 3, 32, 32), (4, 3, 64, 64)}


def epochs(loader: DataLoader, numbers: list[int]) -> list[torch.Tensor]:
    found = []
    for epoch in numbers:
        seed_everything(7, epoch, 0)
        set_epoch(loader, epoch)
        found.append(torch.cat(list(loader)))
    return found


def seeded_loader() -> DataLoader:
    return DataLoader(EpochSeeded(Draws(), 7, 0), batch_size=2, num_workers=2, shuffle=True,
                      persistent_workers=True, generator=torch.Generator())


def test_persistent_workers_draw_the_same_when_they_start_late() -> None:
    loader = seeded_loader()
    loader.sampler.generator = None
    whole = epochs(loader, [0, 1, 2])
    late = seeded_loader()
    late.sampler.generator = None
    resumed = epochs(late, [1, 2])
    torch.testing.assert_close(resumed[0], whole[1], rtol=0, atol=0)
    torch.testing.assert_close(resumed[1], whole[2], rtol=0, atol=0)
    assert not torch.equal(whole[0], whole[1])


def test_workers_and_ranks_draw_differently() -> None:
    drawn = set()
    for parts in ((7, 0, 0, 1), (7, 0, 0, 2), (7, 0, 1, 1), (7, 1, 0, 1), (8, 0, 0, 1)):
        seed_everything(*parts)
        drawn.add(torch.rand(()).item())
    assert len(drawn) == 5
