"""Configs of other OpenMMLab libraries get true verdicts, looked into or not."""

from __future__ import annotations

import pytest
from mmengine.config import Config
from support.libraries import (
    LIBRARIES,
    classifier,
    contrastive,
    hide,
    pose,
    segmentor,
    video,
    yolo,
)

from tricks_plugin import apply_tricks
from tricks_plugin.mm.config_edit import plain
from tricks_plugin.mm.libraries import installed
from tricks_plugin.plan import same
from tricks_plugin.tricks import TRICKS

TOGETHER = [trick.name for trick in TRICKS.in_order() if trick.name != 'step_decay']
SEGMENTATION = 'of the tricks the cosine schedule helps (arXiv 1812.01187 section 6.2)'


def rows(cfg, tricks):
    _, plan = apply_tricks(cfg, tricks)
    return {row.name: row for row in plan.tricks}


@pytest.mark.parametrize('library', LIBRARIES)
def test_every_trick_ends_in_a_verdict_and_a_second_application_changes_nothing(library):
    effective, plan = apply_tricks(LIBRARIES[library](), TOGETHER)
    assert [row.name for row in plan.tricks] == TOGETHER
    for row in plan.tricks:
        assert row.changes if row.status == 'applied' else row.reason
    again, second = apply_tricks(effective, TOGETHER)
    assert [row.name for row in second.tricks if row.status == 'applied'] == []
    assert same(plain(again), plain(effective))


def test_segmentation_is_told_what_the_paper_found():
    found = rows(segmentor(), ['label_smoothing', 'mixup', 'cosine_warmup', 'sync_bn'])
    assert found['label_smoothing'].status == found['mixup'].status == 'not_applicable'
    assert found['label_smoothing'].reason.startswith('EncoderDecoder labels pixels: ')
    assert found['label_smoothing'].reason.endswith(SEGMENTATION)
    assert found['mixup'].reason.endswith(SEGMENTATION)
    assert found['cosine_warmup'].status == 'applied'
    assert found['sync_bn'].status == 'present'


def test_a_segmentors_own_pretrained_weights_are_seen():
    cfg = segmentor()
    assert rows(cfg, 'zero_gamma')['zero_gamma'].status == 'applied'
    cfg.model.pretrained = 'open-mmlab://resnet50_v1c'
    row = rows(cfg, 'zero_gamma')['zero_gamma']
    assert (row.status, row.reason) == ('not_applicable', (
        'model.pretrained gives the backbone pretrained weights, whose scales zeroing would lose'))


def test_a_step_that_may_load_images_is_not_said_to_load_none():
    cfg = pose()
    steps = cfg.train_dataloader.dataset.pipeline
    steps[0] = dict(type='LoadImage')
    reason = 'no transform below train_dataloader.dataset is known to load images from files ({})'
    assert rows(cfg, 'data_cache')['data_cache'].reason == reason.format(
        'LoadImage is not registered or importable here, and was not looked into')
    steps[:] = [dict(type='mmcv.RandomFlip', prob=0.5), dict(type='mmcv.Normalize')]
    assert rows(cfg, 'data_cache')['data_cache'].reason == \
        'no transform below train_dataloader.dataset loads images from files'


def test_a_config_of_the_former_kind_has_no_loss_smoothed():
    cfg = Config(dict(model=segmentor().model, optimizer=dict(type='SGD', lr=0.1), data={},
                      lr_config=dict(policy='step', step=[8, 11])))
    cfg.model.bbox_head = dict(type='RetinaHead', num_classes=15, loss_cls=dict(
        type='FocalLoss', use_sigmoid=True))
    cfg.model.type = 'RotatedRetinaNet'
    row = rows(cfg, 'label_smoothing')['label_smoothing']
    assert row.status == 'not_applicable'
    assert row.reason.startswith('the config does not train: this is a config of mmdet 2.x')


@pytest.mark.parametrize(('library', 'trick', 'reason'), [
    ('mmpose', 'label_smoothing', 'no loss over class labels that this trick knows is found '
     '(model.head.loss is KeypointMSELoss); TopdownPoseEstimator, ResNet, HeatmapHead could not '
     'be looked into here (library mmpose)'),
    ('mmpose', 'mixup', 'train_dataloader.dataset.pipeline ends in PackPoseInputs, which packs '
     'keypoints (mmpose), which this trick has no form for'),
    ('mmpose', 'resnet_d', 'ResNet is not a plain ResNet of mmdet (ResNet is not '
     'registered or importable here, and was not looked into)'),
    ('mmaction', 'label_smoothing', 'the config names no loss; Recognizer2D, ResNet, TSNHead could '
     'not be looked into here (library mmaction)'),
    ('mmaction', 'mixup', 'train_dataloader.dataset.pipeline ends in PackActionInputs, which packs '
     'clips of videos (mmaction), which this trick has no form for'),
    ('mmyolo', 'label_smoothing', 'bbox_head: not smoothed, whether its targets are classes is not '
     'known (YOLOv5Head is not registered or importable here, and was not looked into)'),
    ('mmyolo', 'random_shapes', 'model.data_preprocessor is YOLOv5DetDataPreprocessor; whether it '
     'has batch augments is not known (YOLOv5DetDataPreprocessor is not registered or importable '
     'here, and was not looked into)'),
    ('mmyolo', 'cosine_warmup', 'default_hooks.param_scheduler is YOLOv5ParamSchedulerHook, a '
     'class that could not be looked into, in the place of ParamSchedulerHook, and has the '
     'learning rate in its hands'),
    ('mmyolo', 'step_decay', 'default_hooks.param_scheduler is YOLOv5ParamSchedulerHook, a '
     'class that could not be looked into, in the place of ParamSchedulerHook, and has the '
     'learning rate in its hands'),
    ('mmrotate', 'label_smoothing', 'bbox_head: not smoothed, whether its targets are classes is '
     'not known (RotatedRetinaHead is not registered or importable here, and was not looked '
     'into)'),
])
def test_what_cannot_be_looked_into_is_said_so(library, trick, reason):
    if installed(library):
        pytest.skip(f'{library} is installed, and is looked into')
    row = rows(LIBRARIES[library](), trick)[trick]
    assert (row.status, row.reason) == ('not_applicable', reason)


def test_mixup_of_a_head_that_was_not_seen_says_what_is_not_known():
    if installed('mmyolo'):
        pytest.skip('mmyolo is installed, and is looked into')
    row = rows(yolo(), 'mixup')['mixup']
    assert row.status == 'applied'
    assert row.reason == ('off from epoch 90 of 100, counted from 0; whether losses of YOLOv5Head '
                          'are weighted per box is not known before the run, as it could not be '
                          'looked into here')


def test_a_collate_function_that_would_lose_the_weights_is_named():
    row = rows(yolo(collate_fn=dict(type='yolov5_collate')), 'mixup')['mixup']
    assert row.status == 'not_applicable'
    assert row.reason == ('train_dataloader.collate_fn is yolov5_collate, which joins boxes and '
                          "labels alone and would lose the boxes' weights")


def test_mmactions_own_smoothing_and_blending_are_found():
    found = rows(video(dict(label_smooth_eps=0.1), dict(blending=dict(
        type='RandomBatchAugment', augments=[dict(type='MixupBlending', alpha=0.8),
                                             dict(type='CutmixBlending', alpha=1)]))),
        ['label_smoothing', 'mixup'])
    assert found['label_smoothing'].status == found['mixup'].status == 'present'
    assert found['label_smoothing'].reason == 'model.cls_head.label_smooth_eps is 0.1'
    assert found['mixup'].reason == \
        'model.data_preprocessor.blending is MixupBlending or CutmixBlending'


def test_a_model_of_mmpretrain_that_knows_no_classes():
    found = rows(contrastive(), ['label_smoothing', 'mixup', 'random_shapes', 'sync_bn'])
    assert found['label_smoothing'].reason.startswith(
        'MoCo is no classifier of mmpretrain: model.head.loss is CrossEntropyLoss, over no class')
    assert found['mixup'].reason.startswith(
        'train_dataloader.dataset.pipeline ends in PackInputs, and MoCo is no classifier')
    assert found['random_shapes'].reason.startswith(
        'MoCo is no classifier of mmpretrain (' if installed('mmpretrain') else
        'whether MoCo is a classifier of mmpretrain is not known (MoCo is not registered')
    assert found['sync_bn'].status == 'applied'


def test_a_resnet_of_mmpretrain_that_was_not_seen_stays_known_to_both_tricks(monkeypatch):
    hide(monkeypatch, 'mmpretrain')
    found = rows(classifier(), ['resnet_d', 'zero_gamma'])
    assert found['resnet_d'].status == found['zero_gamma'].status == 'applied'
    assert found['resnet_d'].reason.startswith(
        'ResNet50-D in place of -B (ResNet is not registered or importable here, and was not '
        'looked into); a forward pass')
    assert found['zero_gamma'].reason == (
        'ResNetV1d trains from scratch (ResNetV1d is not registered or importable here, and was '
        'not looked into)')
    cfg = classifier(backbone=dict(zero_init_residual=True))
    cfg.model.backbone.type = 'ResNetV1d'
    found = rows(cfg, ['resnet_d', 'zero_gamma'])
    assert found['resnet_d'].status == found['zero_gamma'].status == 'present'
    assert found['resnet_d'].reason == ('ResNetV1d is ResNet50-D already (ResNetV1d is not '
                                        'registered or importable here, and was not looked into)')


@pytest.mark.parametrize('kind', [
    'ImageToImageRetriever', 'mmpretrain.BlipCaption', 'MyClassifier'])
def test_random_shapes_says_of_a_model_of_mmpretrain_what_it_is_there(monkeypatch, kind):
    cfg = classifier(model=dict(type=kind))
    reason = 'whether {0} is a classifier of mmpretrain is not known ({0} is not registered or ' \
        'importable here, and was not looked into)'
    if installed('mmpretrain') and kind != 'MyClassifier':
        row = rows(cfg, 'random_shapes')['random_shapes']
        assert (row.status, row.reason) == ('not_applicable', (
            f'{kind.removeprefix("mmpretrain.")} is no classifier of mmpretrain (ImageClassifier, '
            'TimmClassifier, HuggingFaceClassifier); of that library this trick resizes their '
            'batches alone'))
    hide(monkeypatch, 'mmpretrain')
    row = rows(cfg, 'random_shapes')['random_shapes']
    assert (row.status, row.reason) == (
        'not_applicable', reason.format(kind.removeprefix('mmpretrain.')))


def test_a_classifiers_preprocessor_that_was_not_seen_is_not_said_to_be_another():
    row = rows(classifier(preprocessor=dict(type='MyPreprocessor')), 'random_shapes')
    assert row['random_shapes'].reason == (
        'data_preprocessor is MyPreprocessor; whether it is a ClsDataPreprocessor is not known '
        '(MyPreprocessor is not registered or importable here, and was not looked into)')


def test_the_preprocessor_at_the_top_of_a_config_is_found():
    found = rows(classifier(), ['label_smoothing', 'mixup', 'random_shapes', 'resnet_d'])
    assert {row.status for row in found.values()} == {'applied'}
