"""Every room trains for two iterations under either trainer, the next one included.

On a GPU too, under ``make test-cuda``: mmengine takes one wherever it sees one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.runner import Runner
from support.timm_train import TINY, write_images

import tricks_plugin
from tricks_plugin.plan import TRICKS, Trick
from tricks_plugin.timm.train import main

ROOT = Path(__file__).resolve().parents[2]
NAMES = [trick.name for trick in TRICKS.in_order()]
TIMM = [trick.name for trick in TRICKS.in_order()
        if trick.side('timm', 'Flags') is not None or trick.timm_args is not Trick.timm_args]
# Settings with which a trick means something under timm; all others train the tiny model as it is.
TIMM_FLAGS = {
    'random_shapes': ['--input-size', '3', '96', '96'],
    'resnet_d': ['--model', 'resnet18d'],
}
# What a run this short needs.
OPTIONS = {'step_decay': {'milestones': (0.5,)}}
# Tricks that one process, this device or timm itself leaves nothing to do for; the plan's words.
NOTHING = {
    'sync_bn': 'a single process has the whole batch',
    'runtime': 'help on a GPU only',
}

DEVICES = ['cpu', pytest.param('cuda', marks=pytest.mark.cuda)]

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp('digits') / 'digits'
    subprocess.run([sys.executable, ROOT / 'examples' / 'make_digits.py', '--out', folder,
                    '--train', '4', '--val', '2'], check=True, capture_output=True)
    return folder


def yolov3(folder):
    """The demo's detector with a base batch of 4, two iterations long."""
    cfg = Config.fromfile(ROOT / 'configs' / 'demo' / 'yolov3_digits.py')
    for key in ('val_dataloader', 'val_cfg', 'val_evaluator', 'test_dataloader', 'test_cfg',
                'test_evaluator'):
        cfg.pop(key, None)
    cfg.merge_from_dict(dict(
        work_dir=str(folder), log_level='ERROR', experiment_name=folder.name,
        train_dataloader=dict(batch_size=2, num_workers=0, persistent_workers=False),
        train_cfg=dict(max_epochs=2), auto_scale_lr=dict(base_batch_size=4),
        param_scheduler=[]))
    return cfg


def retinanet(folder):
    """The same data, with a strong step, for a RetinaNet on a ResNet-18 from scratch."""
    cfg = yolov3(folder)
    cfg.train_dataloader.dataset.pipeline.insert(3, dict(type='PhotoMetricDistortion'))
    model = Config.fromfile(ROOT / 'tests' / 'data' / 'tiny_retinanet.py').model
    cfg.model = model
    return cfg


def detector_teacher(folder):
    """An untrained teacher for the demo's detector, in files."""
    import torch
    from mmengine.registry import MODELS, init_default_scope
    init_default_scope('mmdet')
    cfg = yolov3(folder)
    cfg.dump(folder / 'teacher.py')
    torch.save(MODELS.build(cfg.model).state_dict(), folder / 'teacher.pth')
    return {'teacher': str(folder / 'teacher.py'), 'checkpoint': str(folder / 'teacher.pth')}


def classifier_teacher(folder):
    """An untrained teacher of timm's for three classes."""
    import timm
    import torch
    torch.save(timm.create_model('test_resnet', num_classes=3).state_dict(), folder / 'teacher.pth')
    return {'teacher': 'test_resnet', 'checkpoint': str(folder / 'teacher.pth')}


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('name', NAMES)
def test_a_room_trains_with_mmengine_and_shows_itself(digits, tmp_path, monkeypatch, name, device):
    monkeypatch.setenv('DIGITS_ROOT', f'{digits}/')
    reasons = []
    options = {**OPTIONS, 'data_cache': {'folder': str(tmp_path / 'cache')}}
    if name == 'distill':
        options[name] = detector_teacher(tmp_path)
    for base in (yolov3, retinanet):
        effective, plan = tricks_plugin.apply_tricks(
            base(tmp_path / f'{name}_{base.__name__}'),
            {name: options.get(name, {}), 'strict': True})
        if plan[name].status in ('applied', 'present'):
            break
        reasons.append(plan[name].reason)
    else:
        pytest.fail(f'{name} applies to none of the bases: {reasons}')
    runner = Runner.from_cfg(effective)
    runner.train()
    assert next(runner.model.parameters()).device.type == device
    row, = json.loads((Path(effective.work_dir) / 'tricks_evidence.json').read_text())['tricks']
    assert row['name'] == name and row['live'] is not False, row
    assert row['planned'] and row['measured']


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('name', TIMM)
def test_a_room_trains_with_timm_and_shows_itself(tmp_path, name, device):
    data = tmp_path / 'data'
    for split, count in (('train', 4), ('validation', 2)):
        write_images(data / split, count)
    options = {**OPTIONS, 'data_cache': {'folder': str(tmp_path / 'cache')}}
    if name == 'distill':
        options[name] = classifier_teacher(tmp_path)
    status = main([str(data), *TINY, '--epochs', '2', '--device', device, '--output',
                   str(tmp_path), '--experiment', 'run', *TIMM_FLAGS.get(name, []), '--tricks',
                   name, '--trick-options', 'strict=True', *(
                       f'{name}.{key}={value}' for key, value in options.get(name, {}).items())])
    assert status == 0
    plan, = json.loads((tmp_path / 'run' / 'tricks_plan.json').read_text())['tricks']
    found = json.loads((tmp_path / 'run' / 'tricks_evidence.json').read_text())['tricks']
    row = next((row for row in found if row['name'] == name), None)
    if plan['status'] == 'not_applicable' or row is None:
        assert name in NOTHING and NOTHING[name] in plan['reason'], plan
        return
    assert row['live'] is not False and row['planned'] and row['measured'], row
