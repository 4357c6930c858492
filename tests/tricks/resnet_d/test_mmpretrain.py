"""ResNet-D in mmpretrain's classifiers: its classes, its normalisation, its names of weights."""

from __future__ import annotations

import pytest
import torch
from support.libraries import classifier

from tricks_plugin.mm import config_edit
from tricks_plugin.tricks.resnet_d import ResNetD
from tricks_plugin.tricks.resnet_d.functional import match_resnet_keys

PRETRAINED = dict(init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'))


def edit(cfg, **params):
    cfg = config_edit.plain(cfg)
    return cfg, ResNetD.from_dict(params).apply(cfg)


@pytest.mark.parametrize(('variant', 'kind', 'words'), [
    ('d', 'ResNetV1d', 'ResNet50-D in place of -B'),
    ('c', 'ResNetV1c', 'ResNet50-C in place of -B')])
def test_mmpretrains_own_class_takes_the_place(variant, kind, words):
    cfg, verdict = edit(classifier(), variant=variant)
    assert cfg['model']['backbone'] == dict(type=kind, depth=50, num_stages=4, out_indices=(3,),
                                            style='pytorch')
    assert verdict.status == 'applied' and verdict.reason.startswith(words)
    assert edit(cfg, variant=variant)[1].status == 'present'
    back, _ = edit(cfg, variant='b')
    assert back['model']['backbone']['type'] == 'ResNet'


def test_settings_that_the_class_does_not_take_are_dropped():
    cfg, verdict = edit(classifier(backbone=dict(deep_stem=True, avg_down=False)))
    assert verdict.reason.startswith('ResNet50-D in place of -C')
    assert cfg['model']['backbone'].keys().isdisjoint({'deep_stem', 'avg_down'})


def test_the_normalisation_follows_the_weights_by_mmpretrains_names():
    own = dict(num_classes=10, mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0], to_rgb=False)
    cfg, verdict = edit(classifier(backbone=PRETRAINED, preprocessor=own))
    assert verdict.status == 'applied'
    assert cfg['data_preprocessor'] == dict(
        num_classes=10, mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)


@pytest.mark.parametrize(('model', 'params'), [
    (dict(pretrained='resnet50.pth'), {}),
    (dict(init_cfg=dict(type='Pretrained', checkpoint='resnet50.pth')), {}),
    (dict(init_cfg=[dict(type='Pretrained', checkpoint='resnet50.pth')]),
     dict(checkpoint='mine.pth'))])
def test_a_whole_classifiers_weights_keep_its_architecture(model, params):
    cfg, verdict = edit(classifier(model=model), **params)
    assert verdict.status == 'not_applicable'
    assert verdict.reason == (f'model.{next(iter(model))} brings weights of another architecture '
                              '(resnet50.pth)')
    assert cfg['model']['backbone']['type'] == 'ResNet'
    # Of the right architecture they stay, and are not told to be overwritten.
    cfg, verdict = edit(classifier(model=model), variant='b', **params)
    assert verdict.status == 'present' and 'init_cfg' not in cfg['model']['backbone']


def test_a_model_with_mmpretrains_names_keeps_them():
    names = ['stem.0.conv.weight', 'stem.1.bn.bias', 'layer1.0.downsample.0.weight']
    state = {name: torch.zeros(1) for name in names}
    assert list(match_resnet_keys(state, names)) == names
    assert list(match_resnet_keys(state, ['stem.3.weight']))[:2] == ['stem.0.weight', 'stem.4.bias']
