"""The command-line doors."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import mmdet
import pytest

from tricks_plugin.cli import run_door

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
YOLO = 'yolo/yolov3_d53_8xb8-ms-608-273e_coco.py'


def door(name):
    """A tool as a module."""
    spec = importlib.util.spec_from_file_location(f'tool_{name}', ROOT / 'tools' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture()
def run(monkeypatch, capsys):
    """Runs a tool in this process; returns exit status, stdout, stderr."""
    def call(name, *args):
        monkeypatch.setattr(sys, 'argv', [f'{name}.py', *map(str, args)])
        status = run_door(door(name).main)
        out = capsys.readouterr()
        return status, out.out, out.err
    return call


def test_plan_prints_one_row_per_trick(run, zoo):
    status, out, _ = run('plan', zoo / YOLO, '--tricks', 'bag_of_freebies')
    assert status == 0
    for name in ('linear_lr', 'cosine_warmup', 'no_bias_decay', 'label_smoothing', 'mixup',
                 'sync_bn', 'random_shapes'):
        assert name in out


def test_plan_json_is_one_object_of_the_fixed_form(run, zoo):
    status, out, _ = run('plan', zoo / YOLO, '--tricks', 'mixup,label_smoothing', '--json',
                         '--cfg-options', 'tricks.mixup.alpha=1.25')
    plan = json.loads(out)
    assert status == 0 and plan['config'] == str(zoo / YOLO)
    assert [row['name'] for row in plan['tricks']] == ['label_smoothing', 'mixup']
    assert {row['status'] for row in plan['tricks']} == {'applied'}
    assert '"alpha": 1.25' in out


def test_plan_reads_the_zoo_of_an_installed_package(run):
    status, out, _ = run('plan', f'mmdet::{YOLO}', '--tricks', 'label_smoothing', '--diff')
    assert status == 0 and "+" in out and 'one_hot_smoother' in out


def test_plan_takes_contract_one_as_it_is(run, zoo):
    status, out, _ = run(
        'plan', zoo / YOLO, '--json', '--cfg-options', 'runner_type=tricks_plugin.TricksRunner',
        'tricks.recipe=bag_of_freebies', 'tricks.mixup.alpha=1.0', 'tricks.label_smoothing=False')
    rows = {row['name']: row for row in json.loads(out)['tricks']}
    assert status == 0 and 'label_smoothing' not in rows
    after = [change['after'] for change in rows['mixup']['changes']]
    mixes = [item for item in after if 'GeometryPreserving' in str(item)]
    assert mixes[0]['alpha'] == 1.0


@pytest.mark.parametrize('args, words', [
    (['--tricks', 'miksup'], "did you mean 'mixup'?"),
    (['--tricks', 'mixup', '--cfg-options', 'tricks.mixup.alpha=-1'],
     'mixup.alpha must be > 0, got -1'),
    (['--tricks', 'mixup', '--cfg-options', 'tricks.mixup.alfa=1'], "did you mean 'alpha'?"),
    (['--tricks', 'mixup', '--cfg-options', 'tricks=mixup'], 'given twice'),
    (['--tricks', 'mixup,mixup'], 'given twice'),
    (['--cfg-options', 'tricks=3'], 'tricks must be the name of a recipe'),
    (['--tricks', 'mixup', '--cfg-options', 'model.type.x=3'], 'cannot set --cfg-options'),
    (['--cfg-options', 'tricks'], "--cfg-options must be KEY=VALUE, got 'tricks'"),
    (['--cfg-options', 'a=[1,2'], "--cfg-options must be KEY=VALUE, got 'a=[1,2'"),
])
def test_a_wrong_wish_exits_with_2_and_one_line(run, zoo, args, words):
    status, out, err = run('plan', zoo / YOLO, *args)
    assert status == 2 and words in err and out == ''
    assert err.count('\n') == 1 and err.startswith('error: ')


@pytest.mark.parametrize('name, text', [
    ('none.py', None), ('broken.py', 'model = dict('), ('raises.py', 'x = 1 / 0'),
    ('base.py', "_base_ = 'not_there.py'"), ('config.txt', 'hello'),
])
@pytest.mark.parametrize('tool', ['plan', 'train'])
def test_an_unreadable_config_exits_with_2_and_one_line(run, tmp_path, tool, name, text):
    if text is not None:
        (tmp_path / name).write_text(text)
    status, _, err = run(tool, tmp_path / name, '--tricks', 'mixup')
    assert status == 2
    assert err.startswith(f'error: cannot read config {tmp_path / name}: ')
    assert err.count('\n') == 1


def test_train_refuses_tricks_given_twice(run, tmp_path):
    (tmp_path / 'own.py').write_text("tricks = dict(mixup=dict())\nmodel = dict(type='A')\n")
    status, _, err = run('train', tmp_path / 'own.py', '--tricks', 'mixup')
    assert status == 2 and 'tricks are given twice' in err


@pytest.mark.parametrize('flag, words', [
    ('--amp', 'has no optim_wrapper'), ('--auto-scale-lr', 'no auto_scale_lr.base_batch_size'),
])
def test_a_flag_whose_section_is_missing_exits_with_2(run, tmp_path, flag, words):
    (tmp_path / 'c.py').write_text("model = dict(type='A')\n")
    status, _, err = run('train', tmp_path / 'c.py', flag)
    assert status == 2 and words in err


def test_a_checkpoint_to_resume_from_that_is_not_there_exits_with_2(run, tmp_path):
    (tmp_path / 'c.py').write_text("model = dict(type='A')\n")
    status, _, err = run('train', tmp_path / 'c.py', '--resume', tmp_path / 'none.pth')
    assert (status, err) == (2, f'error: --resume: no checkpoint at {tmp_path / "none.pth"}\n')


def flags(script):
    return set(re.findall(r"'(--[a-z_-]+)'", Path(script).read_text()))


def test_train_has_every_flag_of_the_installed_mmdet():
    stock = Path(mmdet.__file__).parent / '.mim' / 'tools' / 'train.py'
    cli = ROOT / 'tricks_plugin' / 'cli'
    ours = flags(cli / 'train.py') | flags(cli / 'common.py')
    assert flags(stock) and flags(stock) <= ours


def test_test_refuses_a_missing_checkpoint(run, zoo):
    status, _, err = run('test', zoo / YOLO, 'nowhere.pth')
    assert status == 2 and err == 'error: no checkpoint at nowhere.pth\n'


def test_dist_train_without_arguments_says_how_to_use_it():
    done = subprocess.run([ROOT / 'tools' / 'dist_train.sh'], capture_output=True, text=True)
    assert done.returncode == 2 and 'CONFIG PROCESSES' in done.stderr


def test_the_plan_tells_of_the_run_and_counts_the_processes_it_is_asked_for(run, zoo):
    plans = {}
    for processes in (1, 16):
        status, out, _ = run('plan', zoo / YOLO, '--tricks', 'linear_lr,sync_bn', '--json',
                             '--processes', processes)
        assert status == 0
        plans[processes] = json.loads(out)
    run_of_16 = plans[16]['run']
    assert {key: run_of_16[key] for key in (
        'processes', 'batch_size', 'accumulation', 'epochs', 'iterations', 'effective_batch',
        'images', 'updates', 'scale', 'classes', 'pretrained')} == {
        'processes': 16, 'batch_size': 8, 'accumulation': 1, 'epochs': 273, 'iterations': None,
        'effective_batch': 128, 'images': None, 'updates': None, 'scale': 608, 'classes': 80,
        'pretrained': 'backbone'}
    assert run_of_16['unknown'] and run_of_16['unknown'][0].endswith('train2017.json is not here')
    rows = {count: {row['name']: row for row in plan['tricks']} for count, plan in plans.items()}
    # The config's LR of 0.001 is for 8 x 8 images.
    lr = {count: [c['after'] for c in row['linear_lr']['changes']
                  if c['path'] == 'optim_wrapper.optimizer.lr'] for count, row in rows.items()}
    assert lr == {1: [pytest.approx(0.001 / 8)], 16: [pytest.approx(0.002)]}
    assert '16 processes' in rows[16]['linear_lr']['reason']


@pytest.mark.parametrize('value', ['0', '-3'])
def test_a_wrong_number_of_processes_exits_with_2(run, zoo, value):
    status, _, err = run('plan', zoo / YOLO, '--tricks', 'linear_lr', f'--processes={value}')
    assert status == 2 and err == f'error: --processes must be >= 1, got {value}\n'


SMALL = '''
import torch
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS


@MODELS.register_module()
class DoorModel(BaseModel):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(4))

    def forward(self, inputs, mode='loss'):
        return {'loss': self.weight.sum()}

    def train_step(self, data, optim_wrapper):
        loss = self(data)['loss']
        optim_wrapper.update_params(loss)
        return {'loss': loss.detach()}


@DATASETS.register_module()
class DoorData(torch.utils.data.Dataset):
    metainfo = {}

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return torch.zeros(1)
'''
CONFIG = '''
custom_imports = dict(imports=['door_parts'], allow_failed_imports=False)
default_scope = 'mmengine'
model = dict(type='DoorModel')
train_dataloader = dict(batch_size=1, dataset=dict(type='DoorData'),
                        sampler=dict(type='DefaultSampler', shuffle=False))
train_cfg = dict(by_epoch=True, max_epochs=1)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))
log_level = 'ERROR'
'''


@pytest.mark.parametrize('flag', ['--resume', 'load_from'])
@pytest.mark.parametrize('damage', [b'', b'no checkpoint', b'PK\x03\x04' + bytes(40)])
def test_a_damaged_checkpoint_is_one_line(run, tmp_path, monkeypatch, flag, damage):
    (tmp_path / 'door_parts.py').write_text(SMALL)
    (tmp_path / 'door.py').write_text(CONFIG)
    monkeypatch.syspath_prepend(str(tmp_path))
    weights = tmp_path / 'weights.pth'
    weights.write_bytes(damage)
    words = ['--resume', weights] if flag == '--resume' else [
        '--cfg-options', f'load_from={weights}']
    try:
        status, _, err = run('train', tmp_path / 'door.py', '--work-dir', tmp_path / 'w', *words)
    finally:
        from mmengine.registry import DATASETS, MODELS
        MODELS.module_dict.pop('DoorModel', None)
        DATASETS.module_dict.pop('DoorData', None)
        sys.modules.pop('door_parts', None)
    last = err.strip().splitlines()[-1]
    assert status == 2 and last.startswith(f'error: {flag} {weights} cannot be loaded: ')
