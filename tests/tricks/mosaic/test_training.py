"""A real training of seconds: mosaics that mixup blends, then neither, measured as they arrive."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from mmdet.datasets.transforms import LoadAnnotations
from mmengine.config import Config
from mmengine.registry import DATASETS, TRANSFORMS
from mmengine.runner import Runner

import tricks_plugin

pytestmark = pytest.mark.slow


@pytest.fixture()
def train_config(tiny, sample, yolov3, tmp_path):
    """YOLOv3-MobileNetV2 on twenty images in memory, four epochs of five iterations."""
    class LoadDrawn(LoadAnnotations):
        """Loads an image of one grey level with one box."""

        def transform(self, results):
            label = np.array([results['number'] % 2])
            return {**sample(results['number'], 2), 'gt_bboxes_labels': label,
                    'gt_ignore_flags': np.array([False])}

    TRANSFORMS.register_module(module=LoadDrawn)
    DATASETS.register_module(name='TinyImages', module=type(tiny()))
    yield dict(
        default_scope='mmdet', work_dir=str(tmp_path / 'work'), model=yolov3,
        train_dataloader=dict(
            batch_size=4, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
            dataset=dict(type='mmengine.TinyImages', ann_file='', pipeline=[
                dict(type='mmengine.LoadDrawn'),
                dict(type='Resize', scale=(64, 48), keep_ratio=True),
                dict(type='RandomFlip', prob=0.5), dict(type='PhotoMetricDistortion'),
                dict(type='PackDetInputs')])),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1e-4)),
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=4),
        randomness=dict(seed=3), log_level='WARNING', default_hooks=dict(
            logger=dict(type='LoggerHook', interval=100), checkpoint=None, runtime_info=None))
    TRANSFORMS._module_dict.pop('LoadDrawn')
    DATASETS._module_dict.pop('TinyImages')


def test_mosaics_and_mixup_train_together_and_end_together(train_config, tmp_path):
    torch.set_num_threads(1)
    ends = dict(off_fraction=0.25)
    effective, plan = tricks_plugin.apply_tricks(Config(train_config), dict(
        mosaic=ends, mixup=ends, clean_tail=ends, strict=True))
    assert {row.status for row in plan.tricks} == {'applied'}
    Runner.from_cfg(effective).train()
    file = tmp_path / 'work' / 'tricks_evidence.json'
    rows = {row['name']: row for row in json.loads(file.read_text())['tricks']}
    assert [rows[name]['live'] for name in ('mosaic', 'mixup', 'clean_tail')] == [True] * 3
    found = rows['mosaic']['values']
    # 60 samples before the switch, and those that mixup loaded for its cache
    assert found['samples'] >= 60 and found['filling'] == 4 and found['undrawn'] == 0
    assert found['mosaics'] + found['emptied'] == found['samples'] - 4
    assert found['images'] > 3
    assert (found['mosaics_after_switch'], found['passed_over_after_switch']) == (0, 20)
    assert rows['mixup']['values']['mixed'] == rows['mixup']['values']['samples'] == 60
