"""`tricks profile`: what it prints and writes, and how it refuses."""

from __future__ import annotations

import json
import sys

import cv2
import numpy as np
import pytest

from tricks_plugin.cli import main
from tricks_plugin.cli.profile import chart

pytestmark = pytest.mark.slow

CONFIG = '''
default_scope = 'mmdet'
work_dir = {work!r}
train_dataloader = dict(
    batch_size=2, num_workers=3, persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='RepeatDataset', times=4, dataset=dict(
            type='CocoDataset', data_root={root!r}, ann_file='train.json',
            data_prefix=dict(img=''), metainfo=dict(classes=('thing',)), pipeline=[
                dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True),
                dict(type='Resize', scale=(20, 16)), dict(type='PackDetInputs')])))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=2)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))
'''


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    root = tmp_path_factory.mktemp('profile')
    images, boxes = [], []
    for index in range(3):
        cv2.imwrite(str(root / f'{index}.png'), np.full((30, 40, 3), index, np.uint8))
        images.append(dict(id=index, file_name=f'{index}.png', width=40, height=30))
        boxes.append(dict(id=index, image_id=index, category_id=1, bbox=[1, 2, 9, 8], area=72,
                          iscrowd=0))
    (root / 'train.json').write_text(json.dumps(dict(
        images=images, annotations=boxes, categories=[dict(id=1, name='thing')])))
    path = root / 'config.py'
    path.write_text(CONFIG.format(root=str(root), work=str(root / 'work')))
    return path


def test_json_holds_the_parts_and_what_follows(config, capsys):
    assert main(['profile', str(config), '--tricks', 'mixup', '--samples', '5', '--step-time', '50',
                 '--json']) == 0
    found = json.loads(capsys.readouterr().out)
    names = [part['name'] for part in found['sample']['parts']]
    assert names[:3] == ['RepeatDataset', 'LoadImageFromFile: reading', 'LoadImageFromFile']
    assert names[-3:] == ['GeometryPreservingMixUp', 'PackWeightedDetInputs', 'pseudo_collate']
    assert (found['workers'], found['batch_size'], found['sample']['samples']) == (3, 2, 5)
    ms = found['sample']['ms']
    assert sum(part['ms'] for part in found['sample']['parts']) == pytest.approx(ms)
    assert found['images_per_second_per_worker'] == pytest.approx(1000 / ms)
    assert found['images_per_second'] == pytest.approx(3000 / ms)
    assert found['fastest_step_ms'] == pytest.approx(2 * ms / 3)
    assert found['workers_needed'] == -(-2 * ms // 50)


def test_table_picture_and_file(config, tmp_path, capsys):
    picture, figures = tmp_path / 'new' / 'bars.svg', tmp_path / 'figures.json'
    assert main(['profile', str(config), '--samples', '2', '--json', str(figures), '--out',
                 str(picture)]) == 0
    out = capsys.readouterr().out
    assert 'decoding' in out and 'images/s' in out and 'A step of' not in out
    assert picture.read_text().lstrip().startswith('<?xml')
    assert json.loads(figures.read_text())['step_ms'] is None


def test_the_step_of_the_last_run_is_taken(config, capsys):
    work = config.parent / 'work'
    work.mkdir()
    (work / 'data_monitor.json').write_text(json.dumps(dict(
        share=0.1, step_ms=40.0, images_per_second=20.0, settings=dict(pipeline=[]))))
    assert main(['profile', str(config), '--samples', '2']) == 0
    assert 'A step of 40 ms needs' in capsys.readouterr().out


@pytest.mark.parametrize('words, message', [
    (['nowhere.py'], 'cannot read config nowhere.py'),
    (['{config}', '--samples', '0'], '--samples must be >= 1, got 0'),
    (['{config}', '--samples', 'many'], "argument --samples: invalid int value: 'many'"),
    (['{config}', '--step-time', '0'], '--step-time must be milliseconds > 0, got 0'),
    (['{config}', '--step-time', 'nan'], '--step-time must be milliseconds > 0, got nan'),
    (['{config}', '--out', 'bars.txt'], '--out must end in one of .png, .svg, .pdf, got bars.txt'),
    (['{config}', '--json', '/dev/null/x.json', '--samples', '1'], 'cannot write /dev/null'),
    (['{config}', '--sample', '3'], 'unknown words --sample 3'),
    (['{config}', '--tricks', 'mixpu'], "mixpu"),
    ([], 'the following arguments are required: config'),
    (['{config}', '--cfg-options', 'train_dataloader.dataset.dataset.ann_file=none.json'],
     'cannot build the training data of'),
    (['{config}', '--cfg-options', 'train_dataloader=None'], 'has no train_dataloader'),
    (['{config}', '--cfg-options',
      'train_dataloader.dataset.dataset.data_prefix.img=elsewhere'],
     'cannot load the training samples of'),
    (['timm', 'nowhere', '--model', 'resnet18', '--samples', '-1'], '--samples must be >= 1'),
    (['timm', 'nowhere', '--model', 'resnet18', '--smaples', '3'], '--smaples'),
])
def test_what_is_wrong_is_one_line(config, capfd, words, message):
    assert main(['profile', *(word.format(config=config) for word in words)]) == 2
    err = [line for line in capfd.readouterr().err.splitlines() if line.startswith('error: ')]
    assert len(err) == 1 and message in err[0]


def test_timm_flags_are_profiled(tmp_path, capsys):
    pytest.importorskip('timm')
    from support.timm_train import TINY, write_images
    write_images(tmp_path / 'train', per_class=4)
    flags = [word for word in TINY if word != '--no-aug']
    assert main(['profile', 'timm', str(tmp_path), *flags, '--val-split', '', '--mixup', '0.2',
                 '--samples', '6', '--step-time', '25', '--json']) == 0
    found = json.loads(capsys.readouterr().out)
    kinds = [part['kind'] for part in found['sample']['parts']]
    assert kinds[1:3] == ['reading', 'decoding'] and kinds[-1] == 'batching'
    assert 'Mixup' in found['sample']['parts'][-1]['name']
    assert (found['workers'], found['batch_size']) == (0, 4)


def test_the_chart_has_a_bar_for_each_part(tmp_path):
    parts = [dict(name=f'step {kind}', kind=kind, ms=2.0)
             for kind in ('reading', 'decoding', 'transform', 'dataset', 'batching')]
    chart(dict(what='made up', sample=dict(ms=10.0, parts=parts),
               images_per_second_per_worker=100.0), tmp_path / 'bars.svg')
    text = (tmp_path / 'bars.svg').read_text()
    assert all(f'step {part["kind"]}' in text for part in parts)
    assert 'made up: 10.0 ms, 100 images/s in one worker' in text


def test_importing_the_command_needs_no_torch(python_env):
    import subprocess
    code = ("import sys\nfor name in ('torch', 'mmengine', 'timm'): sys.modules[name] = None\n"
            'import tricks_plugin.cli.profile')
    subprocess.run([sys.executable, '-c', code], check=True, env=python_env)
