"""Small trainings with made-up bottlenecks, watched by the monitor."""

from __future__ import annotations

import time
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmengine.dataset import BaseDataset
from mmengine.fileio import LocalBackend, register_backend
from mmengine.fileio.backends import backends
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, TRANSFORMS, VISBACKENDS
from mmengine.runner import Runner
from mmengine.visualization.vis_backend import BaseVisBackend

from tricks_plugin.tricks.data_monitor.hook import DataBottleneckHook

__all__ = ['LOAD', 'SLOW', 'Noting', 'build', 'images', 'messages', 'registered']

SLOW = 0.03


class SleepingBackend(LocalBackend):
    """A storage that takes its time."""

    def get(self, filepath):
        time.sleep(SLOW)
        return super().get(filepath)


class LoadHugeImage(LoadImageFromFile):
    """As slow as the decoding of a large image."""

    def transform(self, results):
        time.sleep(SLOW)
        return super().transform(results)


class Fidget(BaseTransform):
    """A transform that takes its time."""

    def __init__(self, seconds=SLOW):
        self.seconds = seconds

    def transform(self, results):
        time.sleep(self.seconds)
        return results


class Noting(BaseVisBackend):
    """A visualizer backend of somebody else's."""

    noted: ClassVar[list] = []
    experiment = None

    def add_scalars(self, scalar_dict, *args, **kwargs):
        self.noted.append(scalar_dict)

    def add_config(self, *args, **kwargs):
        pass

    _init_env = add_graph = add_image = add_scalar = add_config


class PackPixels(BaseTransform):
    """The image as a tensor."""

    def transform(self, results):
        return dict(inputs=torch.from_numpy(results['img']).float())


class ImageFiles(BaseDataset):
    """The PNG files of a folder."""

    def load_data_list(self):
        return [dict(img_path=str(path)) for path in sorted(Path(self.data_root).glob('*.png'))]


class Mean(BaseModel):
    """A step that takes some time."""

    def __init__(self, seconds=0.0):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.seconds = seconds

    def forward(self, inputs, mode='tensor'):
        time.sleep(self.seconds)
        return {'loss': torch.stack(list(inputs)).mean() * self.weight}


@pytest.fixture(autouse=True, scope='module')
def registered():
    """The parts of the small trainings, known to mmengine for one module of tests."""
    register_backend('sleeping', SleepingBackend)
    for registry, kinds in ((TRANSFORMS, (LoadHugeImage, Fidget, PackPixels)),
                            (DATASETS, (ImageFiles,)), (VISBACKENDS, (Noting,))):
        for kind in kinds:
            registry.register_module(module=kind)
    yield
    backends.pop('sleeping')
    for registry, kinds in ((TRANSFORMS, (LoadHugeImage, Fidget, PackPixels)),
                            (DATASETS, (ImageFiles,)), (VISBACKENDS, (Noting,))):
        for kind in kinds:
            registry.module_dict.pop(kind.__name__)


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """A folder of small images."""
    folder = tmp_path_factory.mktemp('images')
    for index in range(24):
        cv2.imwrite(str(folder / f'{index:02d}.png'), np.full((6, 7, 3), index, np.uint8))
    return folder


LOAD = dict(type='LoadImageFromFile')


def build(images, work, steps, step=0.0, workers=0, hook=None, epochs=2, name='', visualizer=None,
          log_level='WARNING', **loader):
    """A Runner of a small training with the monitor."""
    return Runner(
        model=Mean(step), work_dir=str(work), default_scope='mmengine', log_level=log_level,
        train_dataloader=dict(
            batch_size=2, num_workers=workers, sampler=dict(
                type='DefaultSampler', shuffle=True, seed=3),
            collate_fn=dict(type='pseudo_collate'), **loader, dataset=dict(
                type='ImageFiles', data_root=str(images),
                pipeline=[*steps, dict(type='PackPixels')])),
        train_cfg=dict(by_epoch=True, max_epochs=epochs), visualizer=visualizer,
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
        custom_hooks=[hook or DataBottleneckHook(0.5, interval=2, window=4, samples=3)],
        experiment_name=f'monitor_{work.name}_{name}')


def messages(runner):
    """What the monitor has written to the log file of the run."""
    return '\n'.join(path.read_text() for path in Path(runner.work_dir).rglob('*.log'))
