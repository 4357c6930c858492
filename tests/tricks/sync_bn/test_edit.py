"""What the trick says of configs, and whether the built models agree."""

from __future__ import annotations

import pytest

pytest.importorskip('mmdet')

from mmengine.config import Config, ConfigDict

from tricks_plugin.common.sync_bn import survey
from tricks_plugin.mm import config_edit
from tricks_plugin.plan.errors import TrickError
from tricks_plugin.tricks.sync_bn import SyncBn

pytestmark = pytest.mark.slow

HOOK = dict(type='tricks_plugin.SyncBatchNormHook')
FROZEN = ('model.backbone.norm_eval=True keeps every BN layer in eval mode; with '
          'model.backbone.norm_eval=False BN would train')


def load(zoo, name):
    return config_edit.plain(Config.fromfile(zoo / name))


def apply(cfg):
    return SyncBn.from_dict({}).apply(cfg)


def config(**model):
    return dict(train_cfg=dict(max_epochs=1), model=dict(type='RetinaNet', **model))


def build(model):
    from mmdet.registry import MODELS
    from mmengine.registry import init_default_scope
    init_default_scope('mmdet')
    for _, node in config_edit.walk(model):
        node.pop('init_cfg', None)
        node.pop('pretrained', None)
    return MODELS.build(ConfigDict(model)).train()


def test_yolov3_trains_bn_in_neck_and_head_only(zoo):
    cfg = load(zoo, 'yolo/yolov3_d53_8xb8-320-273e_coco.py')
    cfg['custom_hooks'] = (dict(type='NumClassCheckHook'),)
    verdict = apply(cfg)
    assert (verdict.status, verdict.reason) == ('applied', (
        'BN trains in model.neck, model.bbox_head; model.backbone.norm_eval=True keeps its layers '
        'frozen, and they are left alone'))
    assert cfg['custom_hooks'] == [dict(type='NumClassCheckHook'), HOOK]
    again = apply(cfg)
    assert (again.status, again.reason) == ('present', 'custom_hooks[1] is SyncBatchNormHook')


def test_stock_faster_rcnn_names_the_setting_that_would_change_it(zoo):
    cfg = load(zoo, 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py')
    verdict = apply(cfg)
    assert (verdict.status, verdict.reason) == ('not_applicable', FROZEN)
    cfg['model']['backbone']['norm_eval'] = False
    assert apply(cfg).reason == 'BN trains in model.backbone'
    assert cfg['custom_hooks'] == [HOOK]


@pytest.mark.parametrize('name, status, reason', [
    ('rtmdet/rtmdet_tiny_8xb32-300e_coco.py', 'present',
     'model.use_syncbn=True converts every BN layer'),
    ('gcnet/mask-rcnn_r50-syncbn_fpn_1x_coco.py', 'present',
     'model.backbone.norm_cfg is a synchronized BN already'),
    ('swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py', 'not_applicable',
     "the model has no BN layer; model.neck.norm_cfg=dict(type='BN') would add some"),
    ('detr/detr_r50_8xb2-150e_coco.py', 'not_applicable', FROZEN),
    ('cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py', 'not_applicable', FROZEN),
    ('fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py', 'not_applicable', FROZEN),
    ('ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py', 'applied',
     'BN trains in model.backbone, model.neck, model.bbox_head'),
    ('bytetrack/bytetrack_yolox_x_8xb4-80e_crowdhuman-mot20train_test-mot20test.py', 'applied',
     'BN trains in model.detector.backbone, model.detector.neck, model.detector.bbox_head'),
])
def test_zoo_configs(zoo, name, status, reason):
    verdict = apply(load(zoo, name))
    assert (verdict.status, verdict.reason) == (status, reason)


@pytest.mark.parametrize('name', [
    'yolo/yolov3_d53_8xb8-320-273e_coco.py', 'centernet/centernet_r18_8xb16-crop512-140e_coco.py',
    'condinst/condinst_r50_fpn_ms-poly-90k_coco_instance.py',
    'yolof/yolof_r50-c5_8xb8-1x_coco.py', 'retinanet/retinanet_r18_fpn_1x_coco.py',
    'pvt/retinanet_pvt-t_fpn_1x_coco.py', 'rtmdet/rtmdet_tiny_8xb32-300e_coco.py',
])
def test_the_built_model_agrees_with_the_verdict(zoo, name):
    cfg = load(zoo, name)
    verdict = apply(cfg)
    found = survey(build(cfg['model']))
    truth = 'applied' if found.trains else 'present' if found.already else 'not_applicable'
    assert verdict.status == truth, (verdict.reason, str(found))


def test_the_setting_that_is_named_makes_bn_train(zoo):
    cfg = load(zoo, 'pvt/retinanet_pvt-t_fpn_1x_coco.py')
    assert "model.neck.norm_cfg=dict(type='BN') would add some" in apply(cfg).reason
    cfg['model']['neck']['norm_cfg'] = dict(type='BN')
    assert apply(cfg).reason == 'BN trains in model.neck'
    assert len(survey(build(cfg['model'])).trains) == 8


def test_frozen_stages_and_norm_eval_are_both_named():
    backbone = dict(type='ResNet', depth=18, frozen_stages=4, norm_eval=False)
    assert apply(config(backbone=backbone)).reason == (
        'model.backbone.frozen_stages=4 keeps every BN layer in eval mode; with '
        'model.backbone.frozen_stages=-1 BN would train')
    backbone['norm_eval'] = True
    assert apply(config(backbone=backbone)).reason == (
        'model.backbone.norm_eval=True and model.backbone.frozen_stages=4 keep every BN layer in '
        'eval mode; with model.backbone.norm_eval=False and model.backbone.frozen_stages=-1 BN '
        'would train')
    backbone.update(norm_eval=False, frozen_stages=3)
    assert apply(config(backbone=backbone)).status == 'applied'


def test_synchronized_layers_beside_plain_ones_leave_work_to_do():
    model = dict(backbone=dict(type='CSPDarknet', norm_cfg=dict(type='SyncBN')),
                 neck=dict(type='FPN', norm_cfg=dict(type='mmcv.BN')))
    assert apply(config(**model)).reason == 'BN trains in model.neck'
    model['neck']['norm_cfg'] = dict(type='torch.nn.modules.batchnorm.SyncBatchNorm')
    assert apply(config(**model)).reason == \
        'model.backbone.norm_cfg is a synchronized BN already'
    # frozen, SyncBN does nothing (mmdetection issue 9877)
    model['backbone']['norm_eval'], model['neck'] = True, dict(type='FPN')
    assert apply(config(**model)).reason == FROZEN


def test_mmengines_own_switch_is_present():
    cfg = dict(config(neck=dict(type='YOLOV3Neck')), sync_bn='torch')
    assert apply(cfg).reason == "mmengine's own sync_bn='torch' converts every BN layer"
    assert apply(cfg).promise == {}
    # which freezing makes void
    cfg = dict(config(backbone=dict(type='ResNet', depth=18)), sync_bn='torch')
    assert apply(cfg).reason == FROZEN


@pytest.mark.parametrize('cfg, reason', [
    ({}, 'the config has no model'),
    (dict(model=None), 'the config has no model'),
    (dict(model=dict(type='YOLOV3', neck=dict(type='YOLOV3Neck'))), 'the config does not train'),
    (dict(model=[], train_cfg=dict()), 'the config has no model'),
    (config(), 'the model has no BN layer'),
    (config(neck=[None, 3, dict(type='Unknown', norm_cfg=[])], bbox_head='x'),
     'no BN layer is found in the model (Unknown is not registered or importable here, and was not '
     'looked into)'),
    (config(neck=[dict(type='FPN', norm_cfg=dict(type=None))]), 'the model has no BN layer'),
])
def test_odd_configs_get_a_verdict(cfg, reason):
    verdict = apply(cfg)
    assert (verdict.status, verdict.reason) == ('not_applicable', reason)


def test_it_has_no_parameters_and_one_timm_flag(monkeypatch):
    pytest.importorskip('timm')
    trick = SyncBn.from_dict({})
    monkeypatch.delenv('WORLD_SIZE', raising=False)
    monkeypatch.delenv('SLURM_NTASKS', raising=False)
    assert trick.timm_args({}) == \
        'a single process has the whole batch: there is nothing to synchronize'
    monkeypatch.setenv('WORLD_SIZE', '2')
    assert trick.timm_args({'model': 'resnet18'}) == {'sync_bn': True}
    assert trick.timm_args({'model': 'vit_tiny_patch16_224'}) == \
        'vit_tiny_patch16_224 has no BN layer'
    assert trick.timm_args({'device': 'cpu'}) == {'sync_bn': True}
    assert trick.timm_args({'split_bn': True}) == \
        '--split-bn and --sync-bn exclude each other in timm'
    with pytest.raises(TrickError, match=r'tricks\.sync_bn\.momentum: unknown parameter'):
        SyncBn.from_dict({'momentum': 0.1})


def test_reading_a_config_builds_no_model(zoo, monkeypatch):
    from mmdet.registry import MODELS
    cfg = load(zoo, 'dino/dino-4scale_r50_8xb2-12e_coco.py')
    monkeypatch.setattr(MODELS, 'build', lambda *args, **kwargs: pytest.fail('a model is built'))
    assert apply(cfg).reason == FROZEN


def of_timm(name, **more):
    from support.libraries import classifier
    cfg = config_edit.plain(classifier())
    cfg['model'] = dict(type='TimmClassifier', model_name=name, num_classes=10, **more)
    return cfg


def test_a_whole_model_of_timm_is_built_and_asked():
    pytest.importorskip('mmpretrain')
    cfg = of_timm('resnet10t', pretrained=True)
    verdict = apply(cfg)
    assert (verdict.status, verdict.reason) == ('applied', 'BN trains in model')
    assert cfg['custom_hooks'] == [HOOK] and cfg['model']['pretrained'] is True
    assert apply(of_timm('vit_tiny_patch16_224')).reason == 'the model has no BN layer'
    assert apply(of_timm('no_such_model')).reason == (
        'no BN layer is found in the model (model was not built for the plan, and not looked '
        'into)')
    cfg = of_timm('resnet10t')
    cfg['model'] = dict(type='HuggingFaceClassifier', model_name='microsoft/resnet-50')
    assert 'model was not built for the plan' in apply(cfg).reason
    cfg['model'] = dict(type='Blip2Caption')  # whose parts would be fetched
    assert apply(cfg).reason == 'the model has no BN layer' or 'not looked' in apply(cfg).reason
