"""Splits: what is not there is refused, no image is in both, and what is left out is counted."""

from __future__ import annotations

import argparse
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from support.timm_train import write_images

from tricks_plugin.plan.errors import TrickError
from tricks_plugin.timm.data import build_datasets

pytestmark = pytest.mark.slow

Settings = Callable[..., argparse.Namespace]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with train/ (6 images) and val/ (3 images) of three classes."""
    write_images(tmp_path / 'train', 2)
    write_images(tmp_path / 'val', 1)
    return tmp_path


def refused(args: argparse.Namespace) -> str:
    with pytest.raises(TrickError) as caught:
        build_datasets(args, 'RGB')
    assert '\n' not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(('words', 'message'), [
    (('--train-split', 'trian'), "which holds train, val, got 'trian'; did you mean 'train'?"),
    (('--val-split', 'vall'), "got 'vall'; did you mean 'val'?"),
    (('--train-split', 'Train'), "got 'Train'; did you mean 'train'?"),
    (('--train-split', 'elsewhere/train/'), "did you mean 'train'?"),
    (('--train-split', 'train[:50%]'), 'which have no slices'),
    (('--train-split', 'trian', '--val-split', ''), "did you mean 'train'?"),
    (('--train-split', 'val'), '--train-split and --val-split are the same images'),
    (('--train-split', '', '--val-split', 'val'), '--train-split must be a folder'),
    (('--train-split', '.'), "--train-split must be a folder or tar in"),
    (('--train-split', '.', '--val-split', ''), "--train-split must be a folder or tar in"),
    (('--train-split', 'train/..', '--val-split', ''), "which holds train, val, got 'train/..'"),
    (('--val-split', 'Validation'), "got 'Validation'; did you mean 'val'?"),
    (('--val-split', 'train'), "--val-split must differ from --train-split, got 'train'"),
    (('--dataset', 'torch/cifar10', '--train-split', 'trian'), "did you mean 'train'?"),
])
def test_a_wrong_split_is_refused(
    settings: Settings, data: Path, words: tuple[str, ...], message: str,
) -> None:
    assert message in refused(settings('--data-dir', str(data), *words))


def test_capitals_and_other_names_on_the_disk_are_named(settings: Settings, data: Path) -> None:
    (data / 'train').rename(data / 'Train')
    assert "holds Train, val, got 'train'; did you mean 'Train'?" in refused(
        settings('--data-dir', str(data)))
    train, _ = build_datasets(settings('--data-dir', str(data), '--train-split', 'Train'), 'RGB')
    assert len(train) == 6
    (data / 'Train').rename(data / 'train')
    (data / 'val').rename(data / 'test')
    assert "holds test, train, got 'validation'; did you mean 'test'?" in refused(
        settings('--data-dir', str(data)))


def test_class_folders_need_the_explicit_word(settings: Settings, data: Path) -> None:
    folder = str(data / 'train')
    assert 'the same images would train and validate' in refused(settings('--data-dir', folder))
    train, val = build_datasets(settings('--data-dir', folder, '--val-split', ''), 'RGB')
    assert len(train) == 6 and val is None
    train, val = build_datasets(settings(
        '--data-dir', folder, '--train-split', '.', '--val-split', '../val'), 'RGB')
    assert len(train) == 6 and len(val) == 3


def test_a_class_map_that_names_no_folder_is_in_the_message(settings: Settings, data: Path) -> None:
    (data / 'map.txt').write_text('dog\nelk\n', encoding='utf-8')
    assert "cannot read split 'train' of" in (message := refused(
        settings('--data-dir', str(data), '--class-map', 'map.txt')))
    assert 'by --class-map map.txt' in message
    tar = data / 'all.tar'
    with tarfile.open(tar, 'w') as file:
        file.add(data / 'train', arcname='.')
    assert 'is one tar: --val-split "" trains on it' in refused(settings('--data-dir', str(tar)))


def test_an_image_in_both_splits_is_refused_through_links(settings: Settings, data: Path) -> None:
    (data / 'val' / 'ant' / 'link.jpg').symlink_to(data / 'train' / 'ant' / '001.jpg')
    assert f'share 1 of 4 validation images, such as {data}/train/ant/001.jpg' in refused(
        settings('--data-dir', str(data)))
    shutil.rmtree(data / 'val')
    (data / 'val').symlink_to(data / 'train', target_is_directory=True)
    assert 'are the same images' in refused(settings('--data-dir', str(data)))


def test_what_is_left_out_is_counted(
    settings: Settings, data: Path, caplog: pytest.LogCaptureFixture,
) -> None:
    (data / 'train' / 'ant' / 'a.gif').write_bytes(b'')
    (data / 'train' / 'ant' / 'note.txt').write_bytes(b'')
    (data / 'train' / 'dog').mkdir()
    (data / 'map.txt').write_text('ant\nbee\nelk\n')
    caplog.set_level('INFO', 'tricks_plugin')
    build_datasets(settings('--data-dir', str(data), '--class-map', str(data / 'map.txt')), 'RGB')
    for line in ('split train: 4 images, 3 classes in', 'split validation: 2 images, 3 classes in',
                 'split train: no image of 1 classes (elk)',
                 'split train: 2 images of 1 folders (cat) are left out, as the class map',
                 '2 files are no images by their ending and are left out: 1 .gif, 1 .txt',
                 'split train: no image in 1 folders (dog)'):
        assert line in caplog.text


def test_classes_of_one_split_alone_are_said(
    settings: Settings, data: Path, caplog: pytest.LogCaptureFixture,
) -> None:
    shutil.rmtree(data / 'val' / 'cat')
    build_datasets(settings('--data-dir', str(data)), 'RGB')
    assert "1 classes are not validated, such as 'cat'" in caplog.text


def test_folders_that_are_one_class_and_images_outside_are_said(
    settings: Settings, data: Path, caplog: pytest.LogCaptureFixture,
) -> None:
    shutil.copytree(data / 'train' / 'ant', data / 'train' / 'more' / 'ant')
    shutil.copy(data / 'train' / 'ant' / '000.jpg', data / 'train' / 'stray.jpg')
    shutil.copy(data / 'val' / 'ant' / '000.jpg', data / 'val' / 'stray.jpg')
    build_datasets(settings('--data-dir', str(data), '--num-classes', '4'), 'RGB')
    assert "split train: 2 folders (ant, more/ant) are one class, 'ant'" in caplog.text
    assert "images that lie in no class folder are a class of their own, ''" in caplog.text
