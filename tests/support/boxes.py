"""A small detection data set in COCO's format, and a config that trains on it."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

__all__ = ['CONFIG', 'write_boxes', 'write_config']

CONFIG = '''
default_scope = 'mmdet'
train_dataloader = dict(
    batch_size=2, num_workers=3, persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='RepeatDataset', times={times}, dataset=dict(
            type='CocoDataset', data_root={root!r}, ann_file='train.json',
            data_prefix=dict(img=''), metainfo=dict(classes=('cat', 'dog')), pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
                dict(type='RandomFlip', prob=0.5), dict(type='PackDetInputs')])))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=10)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=5),
    dict(type='MultiStepLR', by_epoch=True, milestones=[5, 8], gamma=0.1)]
'''


def write_boxes(root: Path, count: int = 6) -> Path:
    """Images of 128 x 96 px, the n-th of grey level 40 n, each with two boxes and their masks."""
    images, found = [], []
    for index in range(count):
        cv2.imwrite(str(root / f'{index}.png'), np.full((96, 128, 3), 40 * index, np.uint8))
        images.append(dict(id=index, file_name=f'{index}.png', width=128, height=96))
        for number, (x, y) in enumerate(((8 + index, 10), (60, 40 + index))):
            corners = [x, y, x + 32, y, x + 32, y + 24, x, y + 24]
            found.append(dict(id=len(found), image_id=index, category_id=number + 1, area=768,
                              bbox=[x, y, 32, 24], iscrowd=0, segmentation=[corners]))
    (root / 'train.json').write_text(json.dumps(dict(
        images=images, annotations=found,
        categories=[dict(id=1, name='cat'), dict(id=2, name='dog')])))
    return root


def write_config(root: Path, times: int = 2, more: str = '') -> Path:
    """The config beside its data; one of 12 images in 6 batches by default."""
    path = root / 'config.py'
    path.write_text(CONFIG.format(root=str(root), times=times) + more)
    return path
