"""A tiny detection set and a tiny YOLOv3 training for the room's tests."""

from __future__ import annotations

import json
import os

os.environ.setdefault('OMP_NUM_THREADS', '1')

import numpy as np
import pytest

# (height, width) of the images, and the boxes as x, y, w, h
IMAGES = [((64, 96), [(8, 8, 40, 32)]), ((96, 64), [(4, 40, 30, 44), (30, 4, 28, 30)]),
          ((64, 64), [(16, 16, 32, 32)]), ((80, 96), [(50, 20, 40, 50)]),
          ((96, 96), [(10, 60, 30, 30)]), ((64, 80), [(2, 2, 24, 60), (40, 10, 36, 20)]),
          ((72, 96), [(20, 20, 50, 30)]), ((96, 72), [(5, 5, 60, 80)])]


@pytest.fixture(scope='session')
def coco(tmp_path_factory):
    """A folder with eight images, every one of another shape, and ``train.json``."""
    cv2 = pytest.importorskip('cv2')
    folder = tmp_path_factory.mktemp('coco')
    images, annotations = [], []
    rng = np.random.RandomState(7)
    for number, ((height, width), boxes) in enumerate(IMAGES):
        image = rng.randint(0, 60, (height, width, 3)).astype(np.uint8)
        for label, (x, y, w, h) in enumerate(boxes):
            image[y:y + h, x:x + w] = (200, 90 * label, 30)
            annotations.append(dict(id=len(annotations) + 1, image_id=number, category_id=label,
                                    bbox=[x, y, w, h], area=w * h, iscrowd=0))
        cv2.imwrite(str(folder / f'{number}.png'), image)
        images.append(dict(id=number, file_name=f'{number}.png', height=height, width=width))
    (folder / 'train.json').write_text(json.dumps(dict(
        images=images, annotations=annotations,
        categories=[dict(id=0, name='box'), dict(id=1, name='lid')])))
    return folder


@pytest.fixture()
def train_config(coco, yolov3, tmp_path):
    """A plain config: YOLOv3-MobileNetV2 on the tiny set, two epochs of four iterations."""
    return dict(
        default_scope='mmdet', work_dir=str(tmp_path / 'work'), model=yolov3,
        train_dataloader=dict(
            batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
            dataset=dict(type='CocoDataset', data_root=f'{coco}/', ann_file='train.json',
                         metainfo=dict(classes=('box', 'lid')), data_prefix=dict(img=''),
                         pipeline=[dict(type='LoadImageFromFile'),
                                   dict(type='LoadAnnotations', with_bbox=True),
                                   dict(type='RandomFlip', prob=0.5),
                                   dict(type='PackDetInputs')])),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1e-4)),
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=2),
        randomness=dict(seed=3), log_level='WARNING', default_hooks=dict(
            logger=dict(type='LoggerHook', interval=100), checkpoint=None, runtime_info=None),
    )
