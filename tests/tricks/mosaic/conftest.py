"""Images of one grey level each in memory, as a dataset of mmengine with any pipeline."""

from __future__ import annotations

import os

os.environ.setdefault('OMP_NUM_THREADS', '1')

import numpy as np
import pytest
from mmcv.transforms import BaseTransform
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.dataset import BaseDataset
from mmengine.registry import TRANSFORMS, DefaultScope


def drawn(number, factor=1):
    """Sample `number`: 24 x 32 times a factor, of level 10 * (number + 1), one box of its class."""
    height, width = int(24 * factor), int(32 * factor)
    boxes = np.array([[4, 4, 20, 16]], np.float32) * factor
    return dict(img=np.full((height, width, 3), 10 * (number + 1), np.uint8),
                img_shape=(height, width), ori_shape=(height, width), img_id=number,
                gt_bboxes=HorizontalBoxes(boxes), gt_bboxes_labels=np.array([number]),
                gt_ignore_flags=np.array([number % 2 == 1]))


class Drawn(BaseTransform):
    """Loads image number `number`."""

    def transform(self, results):
        return {**drawn(results['number']), 'gt_ignore_flags': np.array([False])}


class Tiny(BaseDataset):
    """Twenty images, or so many as are wanted; each is of its own class."""

    METAINFO = {'classes': tuple(map(str, range(20)))}
    size = 20

    def load_data_list(self):
        return [dict(number=number) for number in range(self.size)]


@pytest.fixture(autouse=True)
def _registered():
    import importlib
    importlib.import_module('tricks_plugin.registry')
    TRANSFORMS.register_module(module=Drawn)
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield
    TRANSFORMS._module_dict.pop('Drawn')


@pytest.fixture(scope='session')
def sample():
    """See `drawn`."""
    return drawn


@pytest.fixture(scope='session')
def tiny():
    """Builds the dataset with steps after the loading."""
    def build(*steps):
        return Tiny(pipeline=[dict(type='mmengine.Drawn'), *steps], ann_file='')
    return build
