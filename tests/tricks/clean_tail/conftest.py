"""Six tiny images in memory, as a dataset of mmengine with any pipeline."""

from __future__ import annotations

import os

os.environ.setdefault('OMP_NUM_THREADS', '1')

import numpy as np
import pytest
from mmcv.transforms import BaseTransform
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.dataset import BaseDataset
from mmengine.registry import TRANSFORMS, DefaultScope


class Drawn(BaseTransform):
    """Loads image number `number`: 24 x 32, grey level 10 times its number, one box."""

    def transform(self, results):
        return dict(img=np.full((24, 32, 3), 10 * results['number'], np.uint8),
                    img_shape=(24, 32), ori_shape=(24, 32), img_id=results['number'],
                    gt_bboxes=HorizontalBoxes(np.array([[4, 4, 20, 16]], np.float32)),
                    gt_bboxes_labels=np.array([0]), gt_ignore_flags=np.array([False]))


class Tiny(BaseDataset):
    """Six images; the first is of class 1, the others of class 0."""

    METAINFO = {'classes': ('common', 'rare')}

    def load_data_list(self):
        return [dict(number=number) for number in range(6)]

    def get_cat_ids(self, idx):
        return [int(idx == 0)]


@pytest.fixture(autouse=True)
def _drawn():
    import importlib
    importlib.import_module('tricks_plugin.registry')
    TRANSFORMS.register_module(module=Drawn)
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield
    TRANSFORMS._module_dict.pop('Drawn')


@pytest.fixture(scope='session')
def tiny():
    """Builds the dataset with steps after the loading."""
    def build(*steps):
        return Tiny(pipeline=[dict(type='mmengine.Drawn'), *steps], ann_file='')
    return build
