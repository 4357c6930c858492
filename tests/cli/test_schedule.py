"""`tricks schedule`: the numbers drawn are those worked out by hand, and how it refuses."""

from __future__ import annotations

import csv
import json
import sys

import pytest
from support.boxes import write_boxes, write_config

from tricks_plugin.cli import main

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    return write_config(write_boxes(tmp_path_factory.mktemp('schedule')))


@pytest.fixture(scope='module')
def written(config, tmp_path_factory):
    """The lecture's figure in all four forms: steps against warm-up and cosine."""
    folder = tmp_path_factory.mktemp('out')
    paths = {suffix: folder / f'new/rates.{suffix}' for suffix in ('json', 'csv', 'png', 'svg')}
    assert main(['schedule', str(config), '--tricks', 'step_decay', '--against', 'cosine_warmup',
                 'plain', '--out', *map(str, paths.values())]) == 0
    return paths


def rates(path):
    return {curve['label']: curve for curve in json.loads(path.read_text())['curves']}


def test_the_curves_are_those_worked_out_by_hand(written):
    found = rates(written['json'])
    assert list(found) == ['step_decay', 'cosine_warmup', 'config as it is']
    plain = found['config as it is']
    # 12 images in batches of 2: 6 iterations in each of 10 epochs. From 0.01 in 4 equal steps to
    # 0.1; a tenth at epochs 5 and 8.
    assert (plain['epoch_length'], plain['steps']) == (6, 60)
    lr = plain['groups'][0]['lr']
    assert lr[:6] == pytest.approx([0.01, 0.0325, 0.055, 0.0775, 0.1, 0.1])
    assert lr[29:31] + lr[47:49] + lr[59:] == pytest.approx([0.1, 0.01, 0.01, 0.001, 0.001])
    assert plain['marks'] == {'first': 0, 'warmup_end': 4, 'middle': 30, 'last': 59}
    assert plain['joints'] == [30, 48]
    assert plain['momentum'] == [0.9] * 60
    # A tenth at 30, 60 and 90 % of the epochs, behind the same warm-up.
    steps = found['step_decay']['groups'][0]['lr']
    assert found['step_decay']['joints'] == [18, 36, 54]
    assert [steps[one] for one in (0, 4, 17, 18, 36, 59)] == pytest.approx(
        [0.01, 0.1, 0.1, 0.01, 0.001, 0.0001])
    # 5 iterations up from 0, 55 down: cos^2(18 degrees) after a fifth of them, sin^2(pi / 110) at
    # the last.
    cosine = found['cosine_warmup']['groups'][0]['lr']
    assert [cosine[one] for one in (0, 1, 5, 16, 59)] == pytest.approx(
        [0, 0.02, 0.1, 0.0904508497, 8.15442e-5], rel=1e-5)


def test_csv_holds_the_same_numbers_and_the_plots_are_pictures(written):
    rows = list(csv.DictReader(written['csv'].open()))
    assert len(rows) == 180 and rows[13]['step'] == '13' and rows[13]['epoch'] == '2'
    for label, curve in rates(written['json']).items():
        mine = [float(row['lr']) for row in rows if row['curve'] == label]
        assert mine == curve['groups'][0]['lr']
    assert {row['momentum'] for row in rows} == {'0.9'}
    assert written['png'].read_bytes()[:4] == b'\x89PNG'
    svg = written['svg'].read_text()
    assert 'config as it is: highest 0.1, last 0.001' in svg and 'cosine_warmup' in svg


def test_the_table_shows_the_telling_steps_and_what_is_not_known(config, capsys):
    assert main(['schedule', str(config), '--tricks', 'label_smoothing', '--iters-per-epoch',
                 '7']) == 0
    out = capsys.readouterr().out
    assert '0.1 (4)' in out and '0.01 (0)' in out and '0.001 (69)' in out
    assert 'config as it is: 70 iterations, 7 an epoch (given by --iters-per-epoch).' in out
    assert 'label_smoothing: none of these tricks changes the schedule here' in out


def test_processes_share_the_images(config, tmp_path):
    path = tmp_path / 'rates.json'
    assert main(['schedule', str(config), '--processes', '4', '--out', str(path)]) == 0
    found = rates(path)['config']
    assert found['epoch_length'] == 2  # 12 images on 4 processes, 2 at a time
    assert found['epoch_length_from'] == 'counted: 12 images in batches of 2 on 4 processes'


@pytest.mark.parametrize('sampler, length', [('DefaultSampler', 1), ('InfiniteSampler', 4)])
def test_limited_epochs_of_several_processes(config, tmp_path, sampler, length):
    """A batch of each of 4 processes is 8 samples, all of which InfiniteSampler counts."""
    own, path = tmp_path / 'own.py', tmp_path / 'rates.json'
    own.write_text(f"""_base_ = {str(config)!r}
train_dataloader = dict(num_batch_per_epoch=1, sampler=dict(type={sampler!r}))
""")
    assert main(['schedule', str(own), '--processes', '4', '--out', str(path)]) == 0
    assert rates(path)['own']['epoch_length'] == length


def test_the_length_of_coco_is_guessed_and_said_so(tmp_path):
    path, out = tmp_path / 'coco.py', tmp_path / 'rates.json'
    path.write_text('''
default_scope = 'mmdet'
train_dataloader = dict(batch_size=2, sampler=dict(type='DefaultSampler'), dataset=dict(
    type='CocoDataset', ann_file='nowhere/instances_train2017.json', pipeline=[],
    filter_cfg=dict(filter_empty_gt=True)))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.02))
''')
    assert main(['schedule', str(path), '--processes', '8', '--out', str(out)]) == 0
    found = rates(out)['coco']
    # 117266 images on 8 processes are 14659 each, in batches of 2
    assert found['epoch_length'] == found['steps'] == 7330
    assert found['epoch_length_from'].startswith('guessed: instances_train2017.json is not here')
    assert found['notes'] == ['no param_scheduler: the LR stays']


def test_timm_flags_give_the_numbers_worked_out_by_hand(tmp_path, capsys):
    pytest.importorskip('timm')
    out = tmp_path / 'rates.json'
    assert main(['schedule', 'timm', '--tricks', 'step_decay', '--against', 'cosine_warmup',
                 '--iters-per-epoch', '5', '--out', str(out), '--', '--model', 'resnet18',
                 '--epochs', '20', '--lr', '0.1', '--opt', 'momentum']) == 0
    found = rates(out)
    steps, cosine = (found[name]['groups'][0]['lr'] for name in ('step_decay', 'cosine_warmup'))
    # a tenth at 30, 60 and 90 % of 20 epochs of 5 updates
    assert [steps[one] for one in (0, 29, 30, 59, 60, 90, 99)] == pytest.approx(
        [0.1, 0.1, 0.01, 0.01, 0.001, 0.0001, 0.0001])
    # a twentieth is warm-up: 5 updates up, 95 down; cos^2 of 18 degrees after 19 of them
    assert [cosine[one] for one in (0, 2, 5, 24)] == pytest.approx([0, 0.04, 0.1, 0.0904508497])
    assert found['cosine_warmup']['steps'] == 100 and found['step_decay']['joints'] == [30, 60, 90]
    assert found['step_decay']['momentum'] == [0.9] * 100
    assert 'step_decay: 100 updates, 5 an epoch (given by --iters-per-epoch).' in \
        capsys.readouterr().out


def test_a_yaml_is_drawn_as_it_is_and_with_its_own_tricks(tmp_path):
    pytest.importorskip('timm')
    out = tmp_path / 'rates.json'
    (tmp_path / 'steps.yaml').write_text(
        'sched: step\nepochs: 8\ndecay_epochs: 4\ndecay_rate: 0.1\nwarmup_epochs: 0\nlr: 0.2\n')
    (tmp_path / 'tricks.yaml').write_text('tricks: cosine_warmup\nepochs: 40\n')
    assert main(['schedule', 'timm', '--against', str(tmp_path / 'steps.yaml'),
                 str(tmp_path / 'tricks.yaml'), '--iters-per-epoch', '5', '--out', str(out), '--',
                 '--model', 'resnet18', '--epochs', '20', '--lr', '0.1', '--opt', 'momentum',
                 '--sched', 'cosine', '--warmup-epochs', '0']) == 0
    found = rates(out)
    assert found["timm's flags"]['steps'] == 100 and found['steps']['steps'] == 40
    steps, tricks = (found[name]['groups'][0]['lr'] for name in ('steps', 'tricks'))
    assert (steps[0], steps[19], steps[20], steps[39]) == pytest.approx((0.2, 0.2, 0.02, 0.02))
    # What the file leaves open is the command line's: an LR of 0.1 after a warm-up of its trick.
    assert len(tricks) == 200 and max(tricks) == pytest.approx(0.1)
    # A schedule of the command is none of the file's own.
    assert main(['schedule', 'timm', '--against', str(tmp_path / 'tricks.yaml'),
                 '--iters-per-epoch', '5', '--out', str(out), '--', '--model', 'resnet18',
                 '--epochs', '20', '--lr', '0.1', '--opt', 'momentum', '--sched', 'step']) == 0
    assert rates(out)['tricks']['groups'][0]['lr'] == pytest.approx(tricks)


def test_timm_counts_its_images(tmp_path):
    pytest.importorskip('timm')
    from support.timm_train import TINY, write_images
    write_images(tmp_path / 'train', per_class=9)
    out = tmp_path / 'rates.json'
    assert main(['schedule', 'timm', '--out', str(out), '--', str(tmp_path), *TINY, '--epochs', '3',
                 '--grad-accum-steps', '4', '--sched', 'none', '--lr', '0.2']) == 0
    found = rates(out)["timm's flags"]
    # 27 images fill 6 batches of 4, of which 4 make an update and 2 another
    assert (found['epoch_length'], found['steps']) == (2, 6)
    assert found['epoch_length_from'] == 'counted: 27 images in batches of 4, 4 to an update'
    assert found['groups'][0]['lr'] == [0.2] * 6


@pytest.mark.parametrize('words, message', [
    (['nowhere.py'], 'cannot read config nowhere.py'),
    (['{config}', '--out', 'a.pdf'], '--out must end in one of .png, .svg, .csv, .json, got a.pdf'),
    (['{config}', '--iters-per-epoch', '0'], '--iters-per-epoch must be >= 1, got 0'),
    (['{config}', '--processes', '0'], '--processes must be >= 1, got 0'),
    (['{config}', '--iters', '3'], 'unknown words --iters 3'),
    (['{config}', '--against', 'cosine_warmpu'], "did you mean 'cosine_warmup'"),
    (['{config}', '--against', 'elsewhere.py'], 'cannot read config elsewhere.py'),
    (['{config}', '--out', '/dev/null/x.json'], 'cannot write /dev/null/x.json'),
    (['{config}', '--cfg-options', 'train_dataloader.dataset.dataset.ann_file=none.json'],
     'so that the length of an epoch is not known: give --iters-per-epoch N'),
    (['{config}', '--cfg-options', 'train_dataloader=None'],
     'no train_dataloader with a dataset, so that the length of an epoch is not known'),
    (['{config}', '--cfg-options', 'optim_wrapper=None', '--iters-per-epoch', '2'],
     'config: the config has no optim_wrapper with an optimizer'),
    (['{config}', '--cfg-options', 'train_cfg=None', '--iters-per-epoch', '2'],
     'config: the config does not say how long it trains (train_cfg)'),
    (['{config}', '--cfg-options', 'param_scheduler.0.end=0', '--iters-per-epoch', '2'],
     'config: cannot build param_scheduler LinearLR: '),
    (['{config}', '--cfg-options', 'optim_wrapper.optimizer.type=SGDD',
      'optim_wrapper.optimizer.lr=x', '--iters-per-epoch', '2'],
     'config: cannot build the optimizer: '),
    (['timm', '--', '--model', 'resnet18', '--epochs', '3'],
     'name the folder of the images, or give --iters-per-epoch N'),
    (['timm', '--iters-per-epoch', '4', '--', '--shced', 'step'], '--sched'),
])
def test_what_is_wrong_is_one_line(config, capfd, words, message):
    if words[0] == 'timm':
        pytest.importorskip('timm')
    assert main(['schedule', *(word.format(config=config) for word in words)]) == 2
    err = [line for line in capfd.readouterr().err.splitlines() if line.startswith('error: ')]
    assert len(err) == 1 and message in err[0]


def test_without_matplotlib_a_plot_says_what_to_install(config, tmp_path, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, 'matplotlib', None)
    assert main(['schedule', str(config), '--iters-per-epoch', '2', '--out',
                 str(tmp_path / 'a.png')]) == 2
    assert 'a plot needs matplotlib: pip install matplotlib, or write .csv or .json' in \
        capfd.readouterr().err
