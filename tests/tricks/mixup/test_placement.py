"""mmdet's own pipelines, edited and run on eight images: what arrives is the mixture planned."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import TRANSFORMS, init_default_scope

from tricks_plugin.mm import config_edit
from tricks_plugin.tricks import TRICKS
from tricks_plugin.tricks.mixup.hook import mixup_transforms


@pytest.fixture(scope='module')
def masked(coco):
    """The tiny set with polygons, and with its third box as a crowd to be ignored."""
    content = json.loads((coco / 'train.json').read_text())
    for number, item in enumerate(content['annotations']):
        x, y, w, h = item['bbox']
        item['segmentation'] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        item['iscrowd'] = int(number == 2)
        if item['iscrowd']:
            item['segmentation'] = dict(size=[96, 64], counts=[96 * 64])
    (coco / 'masked.json').write_text(json.dumps(content))
    return coco


def plan(zoo, path, folder, **params):
    """A zoo config on the tiny set, edited: the plain config and the verdict."""
    cfg = config_edit.plain(Config.fromfile(zoo / path))
    for _, node in list(config_edit.walk(cfg['train_dataloader']['dataset'])):
        if 'ann_file' in node:
            for key in ('data_root', 'indices', 'backend_args'):
                node.pop(key, None)
            node.update(type='CocoDataset', data_root=f'{folder}/', ann_file='masked.json',
                        data_prefix=dict(img=''), metainfo=dict(classes=('box', 'lid')))
    return cfg, TRICKS.get('mixup').from_dict(params).apply(cfg)


def build(cfg):
    init_default_scope('mmdet')
    dataset = DATASETS.build(cfg['train_dataloader']['dataset'])
    for transform in mixup_transforms(dataset):
        transform.attach(dataset)
    return dataset


def watch(dataset):
    """Notes the two sources of every mixture."""
    notes = []

    def note(mix):
        def noting(results, partner, lam):
            sides = [(side['img'].shape[:2], len(side['gt_bboxes'])) for side in
                     (results, partner)]
            notes.append((sides, lam))
            return mix(results, partner, lam)
        return noting

    for transform in mixup_transforms(dataset):
        transform._mix = note(transform._mix)
    return notes


def check(packed, note):
    """One packed sample against the two that it was made of."""
    (((h1, w1), count), ((h2, w2), more)), lam = note
    sample = packed['data_samples']
    assert packed['inputs'].shape[-2:] == (max(h1, h2), max(w1, w2)) == sample.img_shape
    kept, ignored = sample.gt_instances, sample.ignored_instances
    for instances in (kept, ignored):
        assert len(instances.mixup_weights) == len(instances.bboxes) == len(instances.labels)
        if 'masks' in instances:
            assert len(instances.masks) == len(instances.bboxes)
            assert (instances.masks.height, instances.masks.width) == sample.img_shape
    weights = torch.cat([kept.mixup_weights, ignored.mixup_weights])
    assert sorted(weights.tolist()) == pytest.approx(
        sorted([lam] * count + [1 - lam] * more), abs=1e-6)


REPLACED = dict(replace=True)


@pytest.mark.slow
@pytest.mark.parametrize('path, params, size', [
    ('yolox/yolox_s_8xb8-300e_coco.py', REPLACED, (640, 640)),           # Mosaic, RandomAffine
    ('rtmdet/rtmdet_tiny_8xb32-300e_coco.py', REPLACED, (640, 640)),     # CachedMosaic, Pad
    ('rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py', REPLACED, (640, 640)),  # polygons
    ('rtmdet/rtmdet_tiny_8xb32-300e_coco.py', dict(replace=True, partner='dataset'), (640, 640)),
    ('yolo/yolov3_d53_8xb8-ms-608-273e_coco.py', {}, None),              # Expand, MinIoURandomCrop
    ('detr/detr_r50_8xb2-150e_coco.py', {}, None),                       # RandomChoice of crops
    ('mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', {}, None),                # bitmaps, a crowd
    ('solov2/solov2_r50_fpn_ms-3x_coco.py', {}, None),
    ('pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py', {}, None),          # Repeat of Concat
    ('lvis/mask-rcnn_r50_fpn_sample1e-3_ms-2x_lvis-v0.5.py', {}, None),  # ClassBalanced
    ('simple_copy_paste/mask-rcnn_r50_fpn_rpn-2conv_4conv1fc_syncbn-all_32xb2-ssj-scp-90k_coco.py',
     {}, (1024, 1024)),                                                  # CopyPaste in a wrapper
    ('strong_baselines/mask-rcnn_r50_fpn_rpn-2conv_4conv1fc_syncbn-all_lsj-100e_coco.py', {},
     None),                                                              # large jitter, RandomCrop
    ('ssd/ssd300_coco.py', {}, (300, 300)),
])
def test_mmdet_s_own_pipelines_deliver_the_mixture(zoo, masked, path, params, size):
    cfg, verdict = plan(zoo, path, masked, **params)
    assert verdict.status == 'applied'
    run(cfg, size)


def run(cfg, size=None):
    dataset = build(cfg)
    notes = watch(dataset)
    np.random.seed(4)
    for index in range(4):
        before = len(notes)
        packed = dataset[index]
        assert len(notes) == before + 1  # mixed, the first sample too, and its partner is not
        check(packed, notes[-1])
        if size:
            assert packed['inputs'].shape[-2:] == size
    counts = [transform.shared.total('failed_partners') for transform in mixup_transforms(dataset)]
    assert not any(counts)


@pytest.mark.skipif(importlib.util.find_spec('albumentations') is None,
                    reason='albumentations is not installed')
def test_albu_s_crops_are_mixed(zoo, masked):
    cfg, verdict = plan(zoo, 'albu_example/mask-rcnn_r50_fpn_albu-1x_coco.py', masked)
    assert verdict.status == 'applied'
    # its own list names transforms that recent releases of albumentations have no more
    (_, albu), = config_edit.find(cfg['train_dataloader'], 'Albu')
    albu['transforms'] = [dict(type='RandomCrop', height=400, width=300, p=0.7),
                          dict(type='RandomBrightnessContrast', p=0.5)]
    albu['keymap'].pop('gt_masks')
    for _, load in config_edit.find(cfg['train_dataloader'], 'LoadAnnotations'):
        load['with_mask'] = False
    run(cfg)


@pytest.mark.parametrize('path', ['yolox/yolox_s_8xb8-300e_coco.py',
                                  'rtmdet/rtmdet_tiny_8xb32-300e_coco.py',
                                  'yolo/yolov3_d53_8xb8-ms-608-273e_coco.py'])
def test_a_second_application_is_present_even_to_replace(zoo, masked, path):
    cfg, _ = plan(zoo, path, masked, replace=True)
    for params in ({}, dict(replace=True)):
        assert TRICKS.get('mixup').from_dict(params).apply(cfg).status == 'present'


def test_yolox_s_own_switch_leaves_the_mixing_to_its_switch(zoo, masked):
    cfg, _ = plan(zoo, 'yolox/yolox_s_8xb8-300e_coco.py', masked, replace=True)
    hook = next(hook for hook in cfg['custom_hooks'] if hook['type'] == 'YOLOXModeSwitchHook')
    dataset = build(cfg)
    dataset.update_skip_type_keys(hook.get('skip_type_keys', ('Mosaic', 'RandomAffine', 'MixUp')))
    transform, = mixup_transforms(dataset)
    notes = watch(dataset)
    check(dataset[1], notes[-1])
    transform.enabled = False
    plain = dataset[1]['data_samples'].gt_instances
    assert len(notes) == 1 and plain.mixup_weights.tolist() == [1.0] * len(plain.labels)


@pytest.mark.slow
def test_after_rtmdet_s_second_stage_the_weights_are_one(zoo, masked):
    cfg, _ = plan(zoo, 'rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py', masked, replace=True)
    hook = next(hook for hook in cfg['custom_hooks'] if hook['type'] == 'PipelineSwitchHook')
    dataset = build(cfg)
    dataset.pipeline = TRANSFORMS.build(dict(type='Compose', transforms=hook['switch_pipeline']))
    assert mixup_transforms(dataset) == []
    instances = dataset[1]['data_samples'].gt_instances
    assert instances.mixup_weights.tolist() == [1.0] * len(instances.labels)


@pytest.mark.slow
@pytest.mark.parametrize('nest', [
    lambda leaf: dict(type='RepeatDataset', times=2, dataset=dict(
        type='ConcatDataset', datasets=[leaf, dict(type='ClassBalancedDataset',
                                                   oversample_thr=0.1, dataset=leaf)])),
    lambda leaf: dict(type='ConcatDataset', datasets=[
        dict(type='ConcatDataset', datasets=[leaf, leaf]),
        dict(type='RepeatDataset', times=3, dataset=leaf)]),
    lambda leaf: dict(type='RepeatDataset', times=2, dataset=dict(
        type='MultiImageMixDataset', pipeline=[leaf['pipeline'][-1]],
        dataset=dict(leaf, pipeline=leaf['pipeline'][:-1]))),
])
@pytest.mark.parametrize('partner', ['cache', 'dataset'])
def test_wrappers_in_any_nesting_are_mixed_and_switched(masked, nest, partner):
    leaf = dict(type='CocoDataset', data_root=f'{masked}/', ann_file='train.json',
                metainfo=dict(classes=('box', 'lid')), data_prefix=dict(img=''),
                pipeline=[dict(type='LoadImageFromFile'),
                          dict(type='LoadAnnotations', with_bbox=True),
                          dict(type='PackDetInputs')])
    cfg = config_edit.plain(dict(train_dataloader=dict(dataset=nest(leaf))))
    assert TRICKS.get('mixup').from_dict(dict(partner=partner)).apply(cfg).status == 'applied'
    dataset = build(cfg)
    notes = watch(dataset)
    for index in range(0, len(dataset), 5):
        check(dataset[index], notes[-1])
    for transform in mixup_transforms(dataset):
        transform.enabled = False
    before = len(notes)
    for index in range(0, len(dataset), 5):
        assert (dataset[index]['data_samples'].gt_instances.mixup_weights == 1).all()
    assert len(notes) == before


@pytest.mark.parametrize('path', [
    'soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py',
    'consistent_teacher', 'mixpl',
])
def test_semi_supervised_pipelines_are_left_alone(zoo, path):
    folder = zoo / path
    files = [folder] if folder.suffix else sorted(folder.glob('*.py'))
    for file in files:
        cfg = config_edit.plain(Config.fromfile(file))
        verdict = TRICKS.get('mixup').from_dict(dict(replace=True)).apply(cfg)
        assert verdict.status == 'not_applicable' and 'semi-supervised' in verdict.reason
