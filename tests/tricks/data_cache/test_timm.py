"""timm's data sets behind the cache, its settings, and trainings with it."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from support.timm_train import TINY, write_images
from timm.data import ImageDataset, create_dataset
from timm.data.readers.reader_image_in_tar import ReaderImageInTar

from tricks_plugin.timm import flags
from tricks_plugin.timm.data import build_datasets
from tricks_plugin.timm.plan import plan_tricks
from tricks_plugin.timm.train import main
from tricks_plugin.tricks.data_cache.keeper import keeper
from tricks_plugin.tricks.data_cache.reader import CachedReader, cache_images, cache_together

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """A folder with train/ (24 images) and val/ (9 images) of three classes."""
    root = tmp_path_factory.mktemp('images')
    write_images(root / 'train', 8)
    write_images(root / 'val', 3)
    return root


@pytest.fixture(scope='module')
def places(images, tmp_path_factory):
    """The training images as class folders, one tar, and a folder of tars."""
    root = tmp_path_factory.mktemp('tars')
    with tarfile.open(root / 'one.tar', 'w') as tar:
        tar.add(images / 'train', arcname='.')
    (root / 'many').mkdir()
    for folder in (images / 'train').iterdir():
        with tarfile.open(root / 'many' / f'{folder.name}.tar', 'w') as tar:
            tar.add(folder, arcname=folder.name)
    return {'folders': images / 'train', 'tar': root / 'one.tar', 'tars': root / 'many'}


@pytest.mark.parametrize('mode', ['RGB', 'L'])
@pytest.mark.parametrize('level', ['encoded', 'decoded'])
@pytest.mark.parametrize('place', ['folders', 'tar', 'tars'])
def test_images_and_targets_are_those_of_the_reader(places, cache_folder, place, level, mode):
    def made():
        root = str(places[place])
        reader = ReaderImageInTar(root) if place == 'tars' else None
        return ImageDataset(root, reader=reader, input_img_mode=mode)

    plain, cached = made(), made()
    cached.reader = CachedReader(cached.reader, level, mode, cache_folder, 20)
    for _ in range(2):
        for index in range(len(plain)):
            right, found = plain[index], cached[index]
            assert right[1] == found[1] and right[0].mode == found[0].mode == mode
            assert np.array_equal(np.asarray(right[0]), np.asarray(found[0]))
    counts = keeper(cache_folder, 20).counted()
    assert (counts['hits'], counts['misses'], counts['stored']) == (24, 24, 24)
    assert cached.filename(3) == plain.filename(3)
    if place == 'folders':  # timm's readers of tars keep files open
        again = pickle.loads(pickle.dumps(cached.reader))
        assert len(again) == 24 and again[5][1] == plain[5][1]


def test_wrong_settings_of_the_reader_are_refused(places):
    reader = create_dataset('', str(places['folders'])).reader
    with pytest.raises(ValueError, match="level must be 'encoded' or 'decoded', got 'raw'"):
        CachedReader(reader, 'raw')
    with pytest.raises(ValueError, match='mode must be RGB or L to be kept decoded, got'):
        CachedReader(reader, 'decoded', 'CMYK')


def test_a_broken_image_is_skipped_as_timm_skips_it(tmp_path, cache_folder, caplog):
    write_images(tmp_path, 2)
    (tmp_path / 'ant' / '000.jpg').write_bytes(b'no image')
    for level in ('encoded', 'decoded'):
        dataset = create_dataset('', str(tmp_path))
        dataset.reader = CachedReader(dataset.reader, level, 'RGB', cache_folder, 20)
        right = create_dataset('', str(tmp_path))[0][0]
        assert np.array_equal(np.asarray(dataset[0][0]), np.asarray(right))
    assert caplog.text.count('Skipped sample (index 0)') == 4


def test_a_data_set_without_files_is_left_alone(caplog):
    class Streamed:
        reader = None

    assert cache_images(Streamed()) == '' and 'the images are not cached' in caplog.text


def test_the_level_is_picked_by_what_fits(places, cache_folder, caplog):
    # 24 images of 36 * 40 pixels: 4320 bytes, headers of 13 and 128, so two pages of 4096 each.
    caplog.set_level('INFO', 'tricks_plugin')
    dataset = create_dataset('', str(places['folders']))
    assert cache_images(dataset, 'auto', cache_folder, 1) == 'decoded'
    assert '24 files (all read) need' in caplog.text and '0.197 MB decoded' in caplog.text
    assert cache_images(create_dataset('', str(places['folders'])), 'auto', cache_folder,
                        0.05) == 'encoded'
    assert cache_images(create_dataset('', str(places['folders']), input_img_mode='CMYK'),
                        'decoded', cache_folder, 1) == 'encoded'


def planned(images, *words, **params):
    settings = flags.parse([str(images), *TINY, *words])
    args, plan, _ = plan_tricks(settings.args, settings.given, {'data_cache': params})
    return args, plan['data_cache']


def test_the_plan_sets_the_trainers_flags_and_says_what_fits(images, cache_folder):
    args, row = planned(images, folder=cache_folder, budget_mb=7)
    assert row.status == 'applied'
    assert (args.data_cache, args.data_cache_folder, args.data_cache_mb) == (
        'auto', cache_folder, 7)
    assert row.reason.startswith('images: 33 files (24 of them measured) need ')
    assert row.reason.endswith(f'the budget of {cache_folder} is 7 MB: decoded, all of it fits')
    assert row.promise == {'level': 'auto', 'folder': cache_folder}
    args, row = planned(images, '--data-cache', 'encoded', level='decoded')
    assert args.data_cache == 'encoded' and 'is yours and stands' in row.reason


def test_the_level_follows_from_training_and_validation_together(images, cache_folder, caplog):
    # 24 and 9 images of two pages each decoded: 33 * 8192 bytes; of one page each encoded.
    for budget, level in ((33 * 8192, 'decoded'), (33 * 8192 - 1, 'encoded')):
        datasets = [create_dataset('', str(images / split)) for split in ('train', 'val')]
        assert cache_together(datasets, 'auto', cache_folder, budget / 1e6) == [level] * 2
        assert [one.reader.level for one in datasets] == [level] * 2
        _, row = planned(images, folder=cache_folder, budget_mb=1)
        assert 'images: 33 files' in row.reason


def test_a_large_set_is_counted_and_sampled_but_not_for_ever(tmp_path, cache_folder, monkeypatch):
    write_images(tmp_path / 'train', 1)  # three classes
    one, *_ = (tmp_path / 'train').glob('*/*.jpg')
    for number in range(20_000):
        os.link(one, one.with_name(f'{number:05d}.jpeg'))
    _, row = planned(tmp_path, '--val-split', '', folder=cache_folder, budget_mb=1000)
    # Two pages each, decoded.
    assert '20003 files (24 of them measured) need' in row.reason
    assert 'and 164 MB decoded' in row.reason
    monkeypatch.setattr('tricks_plugin.tricks.data_cache.timm._SECONDS', -1.0)
    _, row = planned(tmp_path, '--val-split', '', folder=cache_folder, budget_mb=1000)
    assert row.reason.startswith('what the set needs is not known before it is read')
    shutil.rmtree(tmp_path)


def test_what_timm_streams_is_not_cached_and_a_recipe_holds_back(images, cache_folder):
    _, row = planned(images, '--dataset', 'tfds/x')
    assert row.status == 'not_applicable' and 'is read by its own library' in row.reason
    settings = flags.parse([str(images / 'none'), *TINY])
    _, plan, _ = plan_tricks(settings.args, settings.given, 'fast')
    assert plan['data_cache'].status == 'held_back' and plan['data_cache'].reason == (
        'what the training images need could not be measured before the run; '
        '--tricks ...,data_cache applies it all the same')
    _, row = planned(images, folder=cache_folder, budget_mb=1)
    assert row.status == 'applied'


def test_without_the_trick_the_trainer_reads_as_timm_does(images):
    args = flags.parse([str(images), *TINY]).args
    args.data_dir, args.rank = str(images), 0
    train, _ = build_datasets(args, 'RGB')
    assert type(train.dataset.reader).__name__ == 'ReaderImageFolder'


@pytest.mark.slow
@pytest.mark.parametrize('workers', ['0', '2'])
def test_a_training_reads_its_second_epoch_from_the_cache(
        images, tmp_path, cache_folder, workers):
    words = [*TINY, '--epochs', '2', '--warmup-epochs', '0', '--output', str(tmp_path),
             '--workers', workers, '--tricks', 'data_cache', '--trick-options',
             f'data_cache.folder={cache_folder}', 'data_cache.budget_mb=5']
    assert main([str(images), *words, '--experiment', 'run']) == 0
    report = json.loads((tmp_path / 'run' / 'tricks_evidence.json').read_text())
    row = next(row for row in report['tricks'] if row['name'] == 'data_cache')
    assert row['live'] is True and row['values']['entries'] == 33
    # Both epochs read all 33 images, the first one from the files.
    assert (row['values']['hits'], row['values']['misses']) == (33, 33)
    assert len(list(Path(cache_folder).glob('??/*'))) == 33
