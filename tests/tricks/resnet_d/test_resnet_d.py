"""ResNet-B, -C and -D: which configs get them, with which weights, and that they arrive."""

from __future__ import annotations

import types

import pytest
import torch
import torchvision
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.model import initialize

import tricks_plugin
from tricks_plugin import ResNetDPretrainedInit
from tricks_plugin.mm.config_edit import plain
from tricks_plugin.mm.training import RunnerTraining
from tricks_plugin.tricks.resnet_d import ResNetD
from tricks_plugin.tricks.resnet_d.evidence import ResNetVariantEvidence
from tricks_plugin.tricks.resnet_d.functional import (
    match_resnet_keys,
    resnet_multiply_adds,
    unmatched_keys,
)

RGB = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True)
CAFFE = dict(mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], bgr_to_rgb=False)
INITIALIZER = 'tricks_plugin.ResNetDPretrainedInit'


def planned(cfg, **params):
    verdict = ResNetD.from_dict(params).apply(cfg)
    if verdict.status == 'applied':
        assert ResNetD.from_dict(params).apply(cfg).status == 'present'
    return verdict


def config(checkpoint='torchvision://resnet50', preprocessor=RGB, **backbone):
    backbone = dict(dict(type='ResNet', depth=50), **backbone)
    if checkpoint:
        backbone['init_cfg'] = dict(type='Pretrained', checkpoint=checkpoint)
    return dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
                model=dict(data_preprocessor=dict(type='DetDataPreprocessor', **preprocessor),
                           backbone=backbone))


def test_faster_rcnn_gets_resnet_d_and_its_weights(zoo):
    cfg = plain(Config.fromfile(zoo / 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'))
    before = cfg['model']['data_preprocessor'].copy()
    verdict = planned(cfg)
    backbone = cfg['model']['backbone']
    assert (backbone['deep_stem'], backbone['avg_down'], backbone['style']) == (
        True, True, 'pytorch')
    assert backbone['init_cfg'] == dict(type=INITIALIZER, checkpoint='mmcls://resnet50_v1d')
    assert cfg['model']['data_preprocessor'] == before
    assert verdict.reason == (
        'ResNet50-D in place of -B; a forward pass takes 4.33 in place of 4.09 billion '
        'multiply-adds at 224 px, also at inference; its weights are mmcls://resnet50_v1d in '
        'place of torchvision://resnet50')


def test_zero_gamma_sees_that_the_new_weights_are_pretrained(zoo):
    cfg = Config.fromfile(zoo / 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py')
    _, plan = tricks_plugin.apply_tricks(cfg, ['zero_gamma', 'resnet_d'])
    assert [(row.name, row.status) for row in plan.tricks] == [
        ('resnet_d', 'applied'), ('zero_gamma', 'not_applicable')]


def test_a_caffe_base_gets_the_normalisation_of_its_new_weights(zoo):
    cfg = plain(Config.fromfile(zoo / 'faster_rcnn/faster-rcnn_r101-caffe_fpn_1x_coco.py'))
    cfg['data_preprocessor'] = dict(cfg['model']['data_preprocessor'])
    cfg['train_dataloader']['dataset']['pipeline'].insert(2, dict(
        type='Expand', mean=list(CAFFE['mean']), to_rgb=False))
    assert 'in place of open-mmlab://detectron2/resnet101_caffe' in planned(cfg, variant='c').reason
    assert cfg['model']['backbone']['init_cfg']['checkpoint'] == 'open-mmlab://resnet101_v1c'
    assert cfg['model']['backbone']['style'] == 'pytorch'
    assert 'avg_down' not in cfg['model']['backbone']
    for node in (cfg['model']['data_preprocessor'], cfg['data_preprocessor']):
        assert {key: node[key] for key in RGB} == RGB
    assert cfg['train_dataloader']['dataset']['pipeline'][2] == dict(
        type='Expand', mean=RGB['mean'], to_rgb=True)


@pytest.mark.parametrize(('cfg', 'params', 'words'), [
    (config(depth=18, checkpoint='torchvision://resnet18'), {}, 'only of depth 50, 101, 152;'),
    (config(depth=34, checkpoint='torchvision://resnet34'), dict(variant='c'), 'depth 18, 50, 101'),
    (dict(config(), load_from='x.pth'), {}, 'load_from brings weights of another'),
    (config(type='ResNeXt'), {}, 'ResNeXt is not a plain ResNet'),
    (config(type='mmpretrain.ResNet'), {}, 'mmpretrain.ResNet is not a plain'),
    (config('open-mmlab://detectron/resnet50_gn', norm_cfg=dict(type='GN')), {},
     "model.backbone.norm_cfg.type='GN' does not fit mmcls://resnet50_v1d"),
    (config(in_channels=6), {}, 'model.backbone.in_channels=6 does not fit'),
    (config(preprocessor=dict(mean=5, std=5)), {}, 'no data_preprocessor with mean and std'),
    (config(avg_down=True), {}, 'mixes tweaks'), (config(depth=[3]), {}, r'depth [3] is not known'),
    (dict(model=dict(backbone=dict(type='ResNet'))), {}, 'does not train'),
    (dict(model=4), {}, 'no model.backbone'),
])
def test_elsewhere_the_reason_is_given(cfg, params, words):
    verdict = planned(cfg, **params)
    assert verdict.status == 'not_applicable' and words in verdict.reason


@pytest.mark.parametrize(('cfg', 'params'), [
    (config(), dict(variant='b')), (config(None, type='mmdet.ResNetV1d'), {}),
    (config('open-mmlab://resnet50_v1c', deep_stem=True), dict(variant='c')),
    (config('torchvision://resnet18', depth=18, style='caffe'), dict(variant='b')),
])
def test_a_backbone_that_is_the_variant_is_left_alone(cfg, params):
    assert planned(cfg, **params).status == 'present'


def test_from_scratch_only_the_architecture_changes():
    cfg = config(None, preprocessor=CAFFE, style='caffe', depth=34)
    verdict = planned(cfg)
    assert cfg['model']['backbone'] == dict(
        type='ResNet', style='pytorch', depth=34, deep_stem=True, avg_down=True)
    assert cfg['model']['data_preprocessor']['mean'] == CAFFE['mean']
    assert verdict.promise == dict(variant='d', pretrained=False)
    assert verdict.reason.endswith('it trains from scratch as before')


def test_from_d_back_to_b_and_with_weights_of_the_user():
    cfg = config('mmcls://resnet50_v1d', type='mmdet.ResNetV1d')
    assert planned(cfg, variant='b').status == 'applied'
    assert cfg['model']['backbone'] == dict(type='mmdet.ResNet', depth=50, init_cfg=dict(
        type=INITIALIZER, checkpoint='torchvision://resnet50'))
    cfg = config(preprocessor=CAFFE, style='caffe')
    assert 'data_preprocessor stays' in planned(cfg, checkpoint='mine.pth').reason
    assert cfg['model']['backbone']['init_cfg'] == dict(type=INITIALIZER, checkpoint='mine.pth')
    assert cfg['model']['data_preprocessor']['mean'] == CAFFE['mean']


def test_weights_that_mmengine_would_load_in_part_are_loaded_whole():
    cfg = config('mmcls://resnet50_v1d', type='ResNetV1d')
    assert planned(cfg).reason.startswith('ResNet50-D stays; its weights are mmcls://resnet50_v1d')
    assert cfg['model']['backbone']['init_cfg']['type'] == INITIALIZER


def test_multiply_adds_are_the_paper_s():
    found = [resnet_multiply_adds(50, variant) / 1e9 for variant in 'abcd']
    assert found == pytest.approx([3.8, 4.1, 4.3, 4.3], abs=0.06)  # table 5
    with pytest.raises(ValueError, match="variant a, b, c or d, got 20 and 'b'"):
        resnet_multiply_adds(20, 'b')


@pytest.mark.parametrize(('depth', 'size'), [(18, 97), (50, 130)])
def test_multiply_adds_are_those_that_torchvision_s_layers_do(depth, size):
    model, counted = getattr(torchvision.models, f'resnet{depth}')(), []
    for layer in model.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(lambda conv, args, out: counted.append(
                out[0].numel() * conv.weight[0].numel()))
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, size, size))
    assert sum(counted) == resnet_multiply_adds(depth, 'b', size)


def build(**kwargs):
    register_all_modules(init_default_scope=True)
    return MODELS.build(dict(dict(type='ResNet', depth=18, base_channels=4, deep_stem=True,
                                  avg_down=True), **kwargs))


def in_mmpretrain_s_layout(path, drop=(), depth=50):
    """Writes random weights of a ResNet-D as mmpretrain names them; returns them by mmdet's name.

    The names are spelled out here from mmpretrain's module tree, not by the code under test.
    """
    torch.manual_seed(3)
    wanted = {name: torch.randn(value.shape) if value.dim() else value
              for name, value in build(depth=depth).state_dict().items()}
    stem = {'0': '0.conv', '1': '0.bn', '3': '1.conv', '4': '1.bn', '6': '2.conv', '7': '2.bn'}
    state = {'head.fc.weight': torch.zeros(9, 3)}
    for name, value in wanted.items():
        parts = name.split('.')
        if parts[0] == 'stem':
            name = f'stem.{stem[parts[1]]}.{parts[2]}'
        elif name.startswith('layer1.0.downsample'):  # no pool there, so one place earlier
            name = '.'.join([*parts[:3], {'1': '0', '2': '1'}[parts[3]], parts[4]])
        if name not in drop:
            state[f'backbone.{name}'] = value
    torch.save(dict(state_dict=state, meta={}), path)
    return wanted


def evidence_of(backbone, variant='d', pretrained=True):
    training = RunnerTraining(types.SimpleNamespace(
        model=types.SimpleNamespace(backbone=backbone), optim_wrapper=None))
    evidence = ResNetVariantEvidence(variant, pretrained)
    evidence.start(training)
    return evidence.finding(training)


def test_every_tensor_of_mmpretrain_s_layout_arrives(tmp_path):
    path = str(tmp_path / 'weights.pth')
    wanted = in_mmpretrain_s_layout(path)
    backbone = build(depth=50, init_cfg=dict(type=INITIALIZER, checkpoint=path))
    backbone.init_weights()
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, wanted[name]), name
    found = evidence_of(backbone)
    assert found.live and found.values['random_norms'] == 0
    assert found.measured.startswith('3 convolution(s) in the stem, strides in 3x3, shortcuts '
                                     'halve by average pools')


def test_mmengine_s_own_initializer_would_leave_the_stem_random_and_the_evidence_says_so(tmp_path):
    path = str(tmp_path / 'weights.pth')
    in_mmpretrain_s_layout(path)
    backbone = build(depth=50, init_cfg=dict(type='Pretrained', checkpoint=path,
                                             prefix='backbone.'))
    backbone.init_weights()
    found = evidence_of(backbone)
    # three norms in the stem, and the one in the shortcut of the first stage
    assert found.live is False and found.values['random_norms'] == 4


def test_weights_that_leave_a_tensor_random_are_refused(tmp_path):
    path = str(tmp_path / 'weights.pth')
    in_mmpretrain_s_layout(path, drop=('stem.1.conv.weight',), depth=18)
    with pytest.raises(ValueError, match=r'leaves 1 of \d+ tensors of ResNet without weights of '
                                         r'their shape: stem.3.weight; it holds'):
        initialize(build(), dict(type=INITIALIZER, checkpoint=path))
    in_mmpretrain_s_layout(path, depth=18)
    with pytest.raises(ValueError, match=r'conv1.weight, bn1.weight, bn1.bias, bn1.running_mean'):
        initialize(build(deep_stem=False), dict(type=INITIALIZER, checkpoint=path))


def test_offsets_and_plugins_keep_their_start_and_convolutions_their_weights(tmp_path):
    path = str(tmp_path / 'weights.pth')
    wanted = in_mmpretrain_s_layout(path)
    block = dict(cfg=dict(type='ContextBlock', ratio=0.25), stages=(False, False, True, False),
                 position='after_conv3')
    backbone = build(depth=50, dcn=dict(type='DCNv2', deform_groups=1), plugins=[block],
                     stage_with_dcn=(False, False, False, True),
                     init_cfg=dict(type=INITIALIZER, checkpoint=path))
    backbone.init_weights()
    state = backbone.state_dict()
    assert torch.equal(state['layer4.1.conv2.weight'], wanted['layer4.1.conv2.weight'])
    assert not state['layer4.1.conv2.conv_offset.weight'].any()


def test_a_flat_layout_and_torchvision_s_are_taken_as_they_are(tmp_path):
    path = str(tmp_path / 'weights.pth')
    source = build()
    source.stem[7].running_mean += 0.25
    torch.save({f'module.{name}': value for name, value in source.state_dict().items()
                if 'num_batches' not in name}, path)
    target = build()
    ResNetDPretrainedInit(path)(target)
    assert torch.equal(target.stem[7].running_mean, source.stem[7].running_mean)
    plain_resnet = build(base_channels=64, deep_stem=False, avg_down=False).state_dict()
    theirs = torchvision.models.resnet18().state_dict()
    assert unmatched_keys(match_resnet_keys(theirs, plain_resnet), plain_resnet) == []


@pytest.mark.parametrize(('kwargs', 'planned_as', 'live'), [
    (dict(), 'd', True), (dict(avg_down=False), 'd', False), (dict(deep_stem=False), 'd', False),
    (dict(avg_down=False), 'c', True), (dict(avg_down=False, deep_stem=False), 'b', True),
    (dict(depth=50, style='caffe'), 'd', False),
])
def test_the_evidence_reads_the_built_variant(kwargs, planned_as, live):
    assert evidence_of(build(**kwargs), planned_as, pretrained=False).live is live


def test_weights_that_a_later_run_leaves_out_are_not_missed():
    # The promise of an effective config, used again from scratch.
    found = evidence_of(build(), 'd', pretrained=True)
    assert found.live is True and found.planned == 'ResNet-D'


def test_a_backbone_that_is_rebuilt_later_is_found():
    training = RunnerTraining(types.SimpleNamespace(
        model=types.SimpleNamespace(backbone=build()), optim_wrapper=None))
    evidence = ResNetVariantEvidence('d')
    evidence.start(training)
    assert evidence.finding(training).live is True
    training.runner.model.backbone = build(avg_down=False)
    assert evidence.finding(training).live is False


def test_timm_has_models_of_these_names():
    assert ResNetD.from_dict({}).timm_args(dict(model='resnet101')) == dict(model='resnet101d')
    assert ResNetD.from_dict({}).timm_args(dict(model='resnet50.a1_in1k')) == dict(
        model='resnet50d')
    assert ResNetD.from_dict({}).timm_args(dict(model='resnet50d')) == dict(model='resnet50d')
    assert ResNetD.from_dict({'variant': 'c'}).timm_args(dict(model='resnet34')) == \
        "timm's only ResNet-C is resnet50c, and the model is resnet34"
    assert ResNetD.from_dict({}).timm_args(dict(model='vit_tiny_patch16_224')) == \
        'vit_tiny_patch16_224 is not a plain ResNet of timm'
    assert 'brings weights of another architecture' in ResNetD.from_dict({}).timm_args(
        dict(model='resnet50', initial_checkpoint='a.pth'))
    assert ResNetD.from_dict({'variant': 'b'}).timm_args(dict(model='resnet34')) == {}
    timm = pytest.importorskip('timm')
    assert {'resnet101d', 'resnet18d', 'resnet50c'} <= set(timm.list_models('resnet*'))
