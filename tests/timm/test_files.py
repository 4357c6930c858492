"""Damaged and foreign files: one line that names the flag."""

from __future__ import annotations

import argparse
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from support.timm_train import TINY, write_images
from timm.models import create_model

from tricks_plugin.plan.errors import TrickError
from tricks_plugin.timm.build import build_run
from tricks_plugin.timm.data import build_datasets
from tricks_plugin.timm.samples import batches
from tricks_plugin.timm.train import main

pytestmark = pytest.mark.slow

Settings = Callable[..., argparse.Namespace]


@pytest.fixture(scope='module')
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a sound checkpoint of the tiny model."""
    path = tmp_path_factory.mktemp('good') / 'x.pth.tar'
    model = create_model('resnet18', layers=(1, 1, 1, 1), channels=(8, 8, 8, 16), num_classes=3)
    torch.save({'state_dict': model.state_dict(), 'epoch': 0, 'version': 2}, path)
    return path.read_bytes()


def foreign(path: Path, kind: str, good: bytes) -> None:
    if kind.startswith('cut'):
        path.write_bytes(good[:int(len(good) * float(kind[3:]))])
    elif kind == 'noise':
        path.write_bytes(np.random.default_rng(0).bytes(5000))
    elif kind == 'zip':
        with zipfile.ZipFile(path, 'w') as file:
            file.writestr('hello.txt', 'no checkpoint')
    elif kind == 'pickle':
        path.write_bytes(pickle.dumps({'a': 1}))
    elif kind == 'list':
        torch.save([1, 2, 3], path)
    else:
        torch.save({'state_dict': create_model('mobilenetv3_small_050').state_dict(),
                    'optimizer': {'param_groups': [], 'state': {}}, 'epoch': 0}, path)


@pytest.mark.parametrize('flag', ['--resume', '--initial-checkpoint', '--pretrained-path'])
@pytest.mark.parametrize('kind', ['cut0', 'cut0.01', 'cut0.5', 'cut0.999', 'noise', 'zip',
                                  'pickle', 'list', 'other'])
def test_a_file_that_is_no_checkpoint_of_this_model_is_named(
    settings: Settings, tmp_path: Path, good: bytes, flag: str, kind: str,
) -> None:
    path = tmp_path / 'x.pth.tar'
    foreign(path, kind, good)
    more = ('--pretrained',) if flag == '--pretrained-path' else ()
    with pytest.raises(TrickError) as caught:
        build_run(settings(flag, str(path), *more), torch.device('cpu'))
    assert str(caught.value).startswith(f'{flag} {path}') and '\n' not in str(caught.value)


@pytest.mark.parametrize('flag', ['--resume', '--initial-checkpoint', '--pretrained-path'])
def test_the_sound_file_is_taken(
    settings: Settings, tmp_path: Path, good: bytes, flag: str,
) -> None:
    path = tmp_path / 'x.pth.tar'
    path.write_bytes(good)
    more = ('--pretrained',) if flag == '--pretrained-path' else ()
    run = build_run(settings(flag, str(path), *more), torch.device('cpu'))
    state = torch.load(path, weights_only=True)['state_dict']
    torch.testing.assert_close(run.model.conv1.weight.data, state['conv1.weight'], rtol=0, atol=0)


@pytest.mark.parametrize(('name', 'content', 'words'), [
    ('m.txt', b'\xff\xfe\x80', 'UnicodeDecodeError'),
    ('m.txt', b'', 'got nothing'),
    ('m.txt', b'ant\n\nbee\n', 'got an empty one'),
    ('m.pkl', b'nonsense', 'UnpicklingError'),
    ('m.pkl', pickle.dumps({'ant': 'zero'}), "got 'ant': 'zero'"),
    ('m.csv', b'ant,0', 'Unsupported class map'),
])
def test_a_damaged_class_map_is_named(
    settings: Settings, tmp_path: Path, name: str, content: bytes, words: str,
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TrickError) as caught:
        build_datasets(settings('--class-map', str(tmp_path / name)), 'RGB')
    text = str(caught.value)
    assert text.startswith(f'--class-map {tmp_path / name}') and words in text


@pytest.mark.parametrize('workers', ['0', '1'])
def test_images_that_cannot_be_read_are_named(
    settings: Settings, tmp_path: Path, workers: str,
) -> None:
    write_images(tmp_path / 'train', 4)
    write_images(tmp_path / 'val', 1)
    for path in (tmp_path / 'train').rglob('*.jpg'):
        path.write_bytes(b'no image')
    run = build_run(settings('--data-dir', str(tmp_path), '--workers', workers),
                    torch.device('cpu'))
    with pytest.raises(TrickError) as caught:
        list(batches(run.loader_train, 'train'))
    text = str(caught.value)
    assert text.startswith(f'split train: cannot use image {tmp_path}/train/') and '\n' not in text


def test_an_output_that_is_a_file_is_named(images: Path, tmp_path: Path) -> None:
    (tmp_path / 'taken').write_text('')
    words = f"^--output must be a folder, or one to be made, got '{tmp_path}"
    with pytest.raises(TrickError, match=words):
        main([str(images), *TINY, '--epochs', '1', '--warmup-epochs', '0', '--output',
              str(tmp_path / 'taken'), '--experiment', 'x'])


def test_a_full_disk_leaves_no_half_checkpoint(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(state: object, path: str) -> None:
        Path(path).write_bytes(b'half')
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(torch, 'save', full)
    with pytest.raises(TrickError, match=r'^--output .*/x: epoch 0 cannot be written: .*No space'):
        main([str(images), *TINY, '--epochs', '1', '--warmup-epochs', '0', '--output',
              str(tmp_path), '--experiment', 'x'])
    assert not list((tmp_path / 'x').glob('*.tar'))
    shutil.rmtree(tmp_path / 'x')


@pytest.mark.parametrize('error', [
    torch.cuda.OutOfMemoryError('CUDA out of memory.\nTried to allocate 2 GiB'),
    RuntimeError("[enforce fail at alloc_cpu.cpp:1] . DefaultCPUAllocator: can't allocate memory"),
])
def test_a_lack_of_memory_is_torchs_words_in_one_line(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception,
) -> None:
    def train_epoch(*args: object) -> None:
        raise error

    monkeypatch.setattr('tricks_plugin.timm.loop.train_epoch', train_epoch)
    with pytest.raises(TrickError, match='^out of memory at --batch-size 4: .*llocate') as caught:
        main([str(images), *TINY, '--epochs', '1', '--warmup-epochs', '0', '--output',
              str(tmp_path), '--experiment', 'x'])
    assert '\n' not in str(caught.value)
