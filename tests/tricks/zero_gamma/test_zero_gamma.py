"""Zero scales: which backbones get them, and that they are there when training starts."""

from __future__ import annotations

import logging
import types

import pytest
import torch
import torchvision
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config

from tricks_plugin import ZeroGammaHook
from tricks_plugin.functional import last_norm, zero_last_scales
from tricks_plugin.mm.config_edit import plain
from tricks_plugin.mm.training import RunnerTraining
from tricks_plugin.tricks.zero_gamma import ZeroGamma
from tricks_plugin.tricks.zero_gamma.evidence import ZeroScaleEvidence

TRAINING = dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)))


def planned(cfg):
    verdict = ZeroGamma.from_dict({}).apply(cfg)
    if verdict.status == 'applied':
        assert ZeroGamma.from_dict({}).apply(cfg).status == 'present'
    return verdict


def scratch(kind, **kwargs):
    return dict(TRAINING, model=dict(backbone=dict(type=kind, **kwargs)))


@pytest.mark.parametrize('kind', ['ResNet', 'ResNeXt', 'RegNet', 'mmdet.ResNetV1d'])
def test_mmdet_s_resnets_have_it_by_default(kind):
    assert planned(scratch(kind)).status == 'present'


@pytest.mark.parametrize('cfg', [
    scratch('HRNet'), scratch('HRNet', zero_init_residual=True), scratch('Darknet', depth=53),
    scratch('ResNet', depth=50, zero_init_residual=False),
    scratch('ResNet', depth=50, init_cfg=[dict(type='Kaiming')]),
])
def test_where_the_backbone_does_not_do_it_the_hook_does(cfg):
    assert planned(cfg).status == 'applied'
    assert cfg['custom_hooks'] == [dict(type='tricks_plugin.ZeroGammaHook')]


@pytest.mark.parametrize(('cfg', 'words'), [
    (scratch('SwinTransformer'), 'SwinTransformer is no backbone whose residual branches'),
    (scratch('HRNet', init_cfg=dict(type='Pretrained', checkpoint='x')), 'pretrained weights'),
    (scratch('HRNet', pretrained='x'), 'pretrained weights'),
    (dict(scratch('HRNet'), load_from='x.pth'), 'load_from brings weights'),
    (dict(TRAINING, model=dict(backbone=dict(type='CSPDarknet'), init_cfg=dict(
        type='Pretrained', checkpoint='yolox_s.pth'))), 'model.init_cfg gives the backbone pretr'),
    (scratch('ResNet', norm_cfg=dict(type='BN', requires_grad=False)), 'requires_grad=True would'),
    (scratch('NoSuchNet'), 'NoSuchNet is not registered or importable here, and was not looked'),
    (dict(scratch('ResNet'), optim_wrapper=dict(
        optimizer=dict(type='SGD', lr=0.1), paramwise_cfg=dict(custom_keys=dict(
            backbone=dict(lr_mult=0), neck=dict(lr_mult=2))))),
     'custom_keys.backbone gives the backbone no learning rate'),
    (dict(model=3), 'no model.backbone'),
    (dict(model=dict(backbone=dict(type='ResNet'))), 'does not train'),
])
def test_elsewhere_the_reason_is_given(cfg, words):
    verdict = planned(cfg)
    assert verdict.status == 'not_applicable' and words in verdict.reason


def test_stock_faster_rcnn_keeps_its_pretrained_scales(zoo):
    cfg = plain(Config.fromfile(zoo / 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'))
    assert 'pretrained weights' in planned(cfg).reason


BRANCHES = dict(block='BASIC', num_modules=1)
HRNET = dict(type='HRNet', extra=dict(
    stage1=dict(num_modules=1, num_branches=1, block='BOTTLENECK', num_blocks=(2,),
                num_channels=(8,)),
    stage2=dict(BRANCHES, num_branches=2, num_blocks=(1, 1), num_channels=(4, 8)),
    stage3=dict(BRANCHES, num_branches=3, num_blocks=(1, 1, 1), num_channels=(4, 8, 16)),
    stage4=dict(BRANCHES, num_branches=4, num_blocks=(1, 1, 1, 1), num_channels=(4, 8, 16, 32))))


def started(cfg, *hooks, iteration=0, **settings):
    """What the evidence finds when a backbone starts, with or without the hook."""
    register_all_modules(init_default_scope=True)
    backbone = MODELS.build(cfg)
    backbone.init_weights()
    runner = types.SimpleNamespace(model=torch.nn.ModuleDict(dict(backbone=backbone)),
                                   logger=logging.getLogger('zero-test'), iter=iteration,
                                   optim_wrapper=None, **settings)
    runner.model.backbone = backbone
    for hook in hooks:
        hook.before_run(runner)
        if settings.get('_load_from'):
            hook.after_load_checkpoint(runner, {})
        hook.before_train(runner)
    evidence = ZeroScaleEvidence()
    training = RunnerTraining(runner)
    training.watch()
    evidence.start(training)
    evidence.before_iteration(training)
    return evidence.finding(training), backbone


@pytest.mark.parametrize(('cfg', 'blocks'), [
    # two bottlenecks in the first stage, then a basic block in each of 2 + 3 + 4 branches
    (HRNET, 2 + 2 + 3 + 4),
    (dict(HRNET, zero_init_residual=True), 11),
    (dict(type='Darknet', depth=53), 1 + 2 + 8 + 8 + 4),
    # blocks that keep size and channels: 1 + 2 + 3 + 2 + 2, and at this width, where 16 and 24
    # channels both become 8, the first one too
    (dict(type='MobileNetV2', widen_factor=0.25), 11),
    (dict(type='ResNet', depth=18, base_channels=4, zero_init_residual=False), 8),
])
def test_every_residual_branch_ends_in_zeros_with_the_hook_and_none_without_it(cfg, blocks):
    found, _ = started(cfg, ZeroGammaHook())
    assert found.live and found.values['zero'] == blocks
    broken, _ = started(cfg)
    assert broken.live is False and broken.values['zero'] == 0


def test_a_resumed_run_cannot_tell():
    assert started(HRNET, iteration=7)[0].live is None


def test_weights_from_elsewhere_tell_nothing_of_the_start():
    finding = started(HRNET, _load_from='x.pth')[0]
    assert finding.live is None and finding.measured == 'weights were loaded (load_from)'
    _, backbone = started(dict(type='Darknet', depth=53), ZeroGammaHook(), _load_from='x.pth')
    assert all(bool(norm.weight.any()) for norm in backbone.modules()
               if isinstance(norm, torch.nn.BatchNorm2d))
    loaded = dict(HRNET, init_cfg=dict(type='Constant', layer='BatchNorm2d', val=0.5))
    assert started(loaded)[0].live is False


def test_scales_that_a_whole_models_init_cfg_has_loaded_stay():
    block = torchvision.models.resnet18().layer1
    model = torch.nn.Module()
    model.backbone, model.init_cfg = block, [dict(type='Pretrained', checkpoint='yolox_s.pth')]
    runner = types.SimpleNamespace(model=model, logger=logging.getLogger('zero-test'))
    hook = ZeroGammaHook()
    hook.before_run(runner)
    hook.before_train(runner)
    assert all(bool(part.bn2.weight.all()) for part in block)
    model.init_cfg = dict(type='Kaiming', layer='Conv2d')
    hook.before_train(runner)
    assert not any(bool(part.bn2.weight.any()) for part in block)


def test_a_block_that_ends_in_zeros_is_the_identity_and_starts_to_learn():
    _, backbone = started(dict(type='Darknet', depth=53), ZeroGammaHook())
    block = next(module for module in backbone.modules() if type(module).__name__ == 'ResBlock')
    x = torch.rand(2, 64, 6, 5)
    assert torch.equal(block(x), x)
    (block(x) ** 2).sum().backward()
    assert block.conv2.bn.weight.grad.abs().median() > 1e-3


def test_a_branch_behind_a_relu_is_left_since_it_could_never_grow():
    register_all_modules(init_default_scope=True)
    backbone = MODELS.build(dict(type='Darknet', depth=53, act_cfg=dict(type='ReLU')))
    assert zero_last_scales(backbone) == 0


def test_torchvision_s_resnets_are_known_too():
    model = torchvision.models.resnet18()
    assert zero_last_scales(model) == 8
    assert last_norm(model.layer1[0]) is model.layer1[0].bn2 and last_norm(model) is None
