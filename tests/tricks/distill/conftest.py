"""Teachers in files, and a batch of images for detectors."""

from __future__ import annotations

import copy

import pytest


@pytest.fixture()
def teacher(tmp_path, yolov3):
    """Makes a YOLOv3 of these neck widths: its config's path and its checkpoint's."""
    torch = pytest.importorskip('torch')
    pytest.importorskip('mmdet')
    from mmdet.registry import MODELS
    from mmengine.config import Config, ConfigDict
    from mmengine.registry import init_default_scope

    def make(widths=(32, 32, 32), name='teacher'):
        init_default_scope('mmdet')
        model = wider(yolov3, widths)
        config, checkpoint = tmp_path / f'{name}.py', tmp_path / f'{name}.pth'
        Config(dict(model=model, default_scope='mmdet')).dump(config)
        torch.manual_seed(1)
        built = settled(MODELS.build(ConfigDict(model)))
        torch.save({'state_dict': built.state_dict()}, checkpoint)
        return str(config), str(checkpoint)
    return make


def settled(model):
    """A detector whose norms have the statistics of some images, so that features do not fade."""
    import torch
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train().extract_feat(torch.randn(4, 3, 64, 64))
    return model


def wider(model, widths):
    """A YOLOv3 section with other widths of the neck."""
    model = copy.deepcopy(model)
    model['neck']['out_channels'] = list(widths)
    model['bbox_head']['in_channels'] = list(widths)
    return model


@pytest.fixture()
def config(yolov3):
    """Makes a Config of the student that trains for ten epochs."""
    from mmengine.config import Config

    def make(**more):
        return Config(copy.deepcopy(dict(
            default_scope='mmdet', model=yolov3, train_cfg=dict(by_epoch=True, max_epochs=10),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01)),
            train_dataloader=dict(batch_size=2, dataset=dict(type='CocoDataset')), **more)))
    return make
