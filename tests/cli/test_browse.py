"""`tricks browse`: what stands on the pictures is what the samples hold, and how it refuses."""

from __future__ import annotations

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
from support.boxes import write_boxes, write_config

from tricks_plugin.cli import main

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    return write_config(write_boxes(tmp_path_factory.mktemp('browse')))


def read(path):
    picture = cv2.imread(str(path))
    assert picture is not None, path
    return picture[..., ::-1]


def test_a_folder_holds_a_picture_for_each_sample_and_its_numbers(config, tmp_path, capsys):
    out = tmp_path / 'new' / 'pictures'
    assert main(['browse', str(config), '--tricks', 'mixup,label_smoothing', '--samples', '3',
                 '--seed', '5', '--size', '200', '--out', str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        '000.png', '001.png', '002.png', 'samples.json']
    record = json.loads((out / 'samples.json').read_text())
    assert record['tricks'] == 'mixup,label_smoothing' and record['seed'] == 5
    from mmengine.config import Config

    from tricks_plugin.mm.apply import apply_tricks
    from tricks_plugin.mm.drawing import tags
    from tricks_plugin.mm.samples import TrainingSamples
    mixed = TrainingSamples(apply_tricks(Config.fromfile(config), 'mixup')[0], 'c', 5)
    for number, row in enumerate(record['samples']):
        assert row['before']['path'] == row['after']['path']
        assert row['after']['boxes'][:2] == row['before']['boxes']
        sample = mixed.load(row['index'], number)
        assert row['after']['weights'] == sample.weights.astype(float).tolist()
        # Each box's label ends in its weight.
        first, second = sample.weights[[0, 2]]
        assert tags(sample, ('cat', 'dog')) == [
            f'cat {first:.2f}', f'dog {first:.2f}', f'cat {second:.2f}', f'dog {second:.2f}']
    picture = read(out / '000.png')
    assert picture.shape[1] == 16 + 200 + 12 + 200 + 16
    told = capsys.readouterr().out
    assert 'mixup edits the pipeline or the batch: 3 of 3 samples differ' in told
    assert 'label_smoothing: not_applicable' in told and f'Written: {out}/' in told


def test_a_sheet_shows_the_blend_masks_and_boxes(config, tmp_path):
    out = tmp_path / 'sheet.png'
    assert main(['browse', str(config), '--tricks', 'mixup', '--samples', '4', '--size', '256',
                 '--out', str(out)]) == 0
    picture = read(out)
    assert picture.shape[1] == 2 * 16 + 4 * 256 + 3 * 12  # two samples beside each other
    # In the first row's left corners the images' plain grey, 40 n; after, a blend of two.
    row = next(y for y in range(40, 300) if len(set(map(tuple, picture[y:y + 12, 18]))) == 1
               and (picture[y, 18] != 255).any())
    before, after = picture[row + 8, 20], picture[row + 8, 20 + 256 + 12]
    assert before.std() == after.std() == 0 and before[0] % 40 == 0 and before[0] != after[0]
    # Boxes and masks bring colours into grey images.
    panel = picture[row:row + 190, 16:16 + 256].astype(int)
    assert (np.ptp(panel, axis=2) > 30).mean() > 0.1


def test_a_plain_config_is_shown_alone(config, tmp_path, capsys):
    out = tmp_path / 'plain.png'
    assert main(['browse', str(config), '--samples', '1', '--size', '128', '--out',
                 str(out)]) == 0
    assert read(out).shape[1] == 2 * 16 + 128
    assert 'before' not in capsys.readouterr().out


@pytest.mark.parametrize('words, message', [
    (['nowhere.py'], 'cannot read config nowhere.py'),
    (['{config}', '--samples', '0'], '--samples must be >= 1, got 0'),
    (['{config}', '--samples', '13'], '--samples must be <= the 12 training samples, got 13'),
    (['{config}', '--size', '10'], '--size must lie in [64, 4096], got 10'),
    (['{config}', '--seed', '-1'], '--seed must be >= 0, got -1'),
    (['{config}', '--out', 'a.jpg'], '--out must end in .png, or name a folder, got a.jpg'),
    (['{config}', '--sheet', '--out', 'folder'], '--out must end in .png, got folder'),
    (['{config}', '--folder', '--out', 'a.png'], '--folder writes into a folder, got --out a.png'),
    (['{config}', '--folder', '--sheet'], 'not allowed with argument'),
    (['{config}', '--out', '/dev/null'], '--out must name a folder, got the file /dev/null'),
    (['{config}', '--out', '/dev/null/x.png', '--samples', '1'], 'cannot write /dev/null'),
    (['{config}', '--smaples', '3'], 'unknown words --smaples 3'),
    (['{config}', '--tricks', 'mixpu'], "did you mean 'mixup'"),
    (['{config}', '--cfg-options', 'train_dataloader.dataset.dataset.ann_file=none.json'],
     'cannot build the training data of'),
    (['{config}', '--cfg-options', 'train_dataloader=None'], 'has no train_dataloader'),
    (['{config}', '--cfg-options', 'train_dataloader.dataset.dataset.data_prefix.img=elsewhere'],
     'cannot load training sample'),
    (['timm', '--samples', '0', '--', 'nowhere'], '--samples must be >= 1, got 0'),
    (['timm', '--', 'nowhere', '--shuffle'], 'unknown flag --shuffle'),
])
def test_what_is_wrong_is_one_line(config, capfd, words, message):
    if words[0] == 'timm':
        pytest.importorskip('timm')
    assert main(['browse', *(word.format(config=config) for word in words)]) == 2
    err = [line for line in capfd.readouterr().err.splitlines() if line.startswith('error: ')]
    assert len(err) == 1 and message in err[0]


@pytest.fixture(scope='module')
def classes(tmp_path_factory):
    pytest.importorskip('timm')
    from support.timm_train import write_images
    root = tmp_path_factory.mktemp('browse-timm')
    write_images(root / 'train', per_class=3)
    return root


def test_timm_images_are_mixed_in_twos_with_their_targets(classes, tmp_path, capsys):
    from support.timm_train import TINY
    out = tmp_path / 'pictures'
    assert main(['browse', 'timm', '--tricks', 'mixup', '--samples', '5', '--out', str(out), '--',
                 str(classes), *TINY, '--val-split', '', '--smoothing', '0.3']) == 0
    record = json.loads((out / 'samples.json').read_text())
    assert len(record['samples']) == 5 and len(list(out.glob('*.png'))) == 5
    for row in record['samples']:
        before, after = row['before'], row['after']
        assert before['path'] == after['path']
        # 1 - 0.3 + 0.3 / 3 for the class of the folder, 0.3 / 3 for each other.
        label = before['path'].split('/')[-2]
        assert before['target'] == pytest.approx(
            {name: 0.8 if name == label else 0.1 for name in ('ant', 'bee', 'cat')})
        assert sum(after['target'].values()) == pytest.approx(1)
    assert 'the tricks change' in capsys.readouterr().out


def test_the_blend_of_two_timm_images_is_that_of_their_targets(classes):
    from support.timm_train import TINY

    from tricks_plugin.timm import flags
    from tricks_plugin.timm.settings import changed
    from tricks_plugin.timm.shown import largest, training_images
    args = flags.parse([str(classes), *TINY, '--val-split', '', '--smoothing', '0']).args
    plain = training_images(args, 6)
    for extra in (dict(), dict(no_prefetcher=True)):
        mixed = training_images(changed(args, mixup=1.0, **extra), 6)
        assert mixed.paths == plain.paths
        assert [largest(plain, place) for place in range(6)] == [
            [(path.split('/')[-2], 1.0)] for path in plain.paths]
        for place in range(6):
            own, other = (plain.images[one].astype(float) for one in (place, place ^ 1))
            ground = plain.targets[place] - plain.targets[place ^ 1]
            if not ground.any():  # two of one class tell nothing of lam
                continue
            lam = (mixed.targets[place] - plain.targets[place ^ 1])[ground != 0][0] / \
                ground[ground != 0][0]
            assert np.abs(mixed.images[place] - (lam * own + (1 - lam) * other)).max() <= 1.01
    shapes = training_images(changed(args, train_img_sizes=[32, 64]), 6)
    assert {image.shape for image in shapes.images} <= {(32, 32, 3), (64, 64, 3)}


def test_without_timm_its_flags_say_what_to_install(python_env):
    code = ("import sys\nsys.modules['timm'] = None\nfrom tricks_plugin.cli import main\n"
            "print([main([name, 'timm', '--', 'nowhere']) for name in ('browse', 'schedule')])")
    done = subprocess.run([sys.executable, '-c', code], env=python_env, capture_output=True,
                          text=True)
    assert done.stdout == '[2, 2]\n'
    assert done.stderr.count("error: timm's flags need timm 1.0.31 or newer") == 2
