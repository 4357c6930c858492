"""The config edit on unlike detectors of the installed zoo."""

from __future__ import annotations

import re

import pytest

pytest.importorskip('mmdet')

from mmengine.config import Config  # noqa: E402

from tricks_plugin.mm import config_edit  # noqa: E402
from tricks_plugin.plan.errors import TrickError  # noqa: E402
from tricks_plugin.tricks.label_smoothing import LabelSmoothing  # noqa: E402

CE = 'tricks_plugin.SmoothedCrossEntropyLoss'
FOCAL = 'tricks_plugin.SmoothedFocalLoss'
RPN_LEFT = 'rpn_head: not smoothed, class-agnostic objectness'


def _smooth(cfg, **params):
    cfg = config_edit.plain(cfg)
    return cfg, LabelSmoothing.from_dict(params).apply(cfg)


@pytest.fixture()
def smooth(zoo):
    def run(name, **params):
        return _smooth(Config.fromfile(str(zoo / name)), **params)
    return run


def test_faster_rcnn_is_smoothed_at_its_box_head_and_not_at_its_rpn(smooth):
    cfg, verdict = smooth('faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py')
    assert cfg['model']['roi_head']['bbox_head']['loss_cls'] == {
        'type': CE, 'use_sigmoid': False, 'loss_weight': 1.0, 'eps': 0.1, 'variant': 'he'}
    assert cfg['model']['rpn_head']['loss_cls']['type'] == 'CrossEntropyLoss'
    assert verdict.status == 'applied'
    assert verdict.reason == \
        f'roi_head.bbox_head: softmax he, K=81: true 0.9, others 0.00125; {RPN_LEFT}'
    assert verdict.promise == {'expected': [
        {'path': 'roi_head.bbox_head.loss_cls', 'variant': 'he', 'eps': 0.1}]}


def test_retinanet_s_focal_loss_keeps_its_settings(smooth):
    cfg, verdict = smooth('retinanet/retinanet_r50_fpn_1x_coco.py', eps=0.2)
    assert cfg['model']['bbox_head']['loss_cls'] == {
        'type': FOCAL, 'use_sigmoid': True, 'gamma': 2.0, 'alpha': 0.25, 'loss_weight': 1.0,
        'eps': 0.2, 'variant': 'szegedy'}
    assert verdict.reason == 'bbox_head: sigmoid szegedy, K=80: true 0.8025, others 0.0025'


def test_yolov3_uses_its_own_smoother_where_it_is_right_for_any_number_of_classes(smooth):
    name = 'yolo/yolov3_d53_8xb8-ms-608-273e_coco.py'
    cfg, _ = smooth(name)
    head = cfg['model']['bbox_head']
    assert head['one_hot_smoother'] == 0.1
    assert head['loss_cls']['type'] == 'CrossEntropyLoss'
    cfg, verdict = smooth(name, variant='he', eps=0.079)  # 0.08 of szegedy for 80 classes alone
    assert 'one_hot_smoother' not in cfg['model']['bbox_head']
    assert cfg['model']['bbox_head']['loss_cls']['variant'] == 'he'
    assert verdict.reason == 'bbox_head: sigmoid he, K=80: true 0.921, others 0.001'


def test_yolov3_takes_the_smoothed_loss_where_its_own_smoother_cannot_follow(smooth):
    cfg, verdict = smooth('yolo/yolov3_d53_8xb8-ms-608-273e_coco.py', variant='gluoncv')
    head = cfg['model']['bbox_head']
    assert 'one_hot_smoother' not in head
    assert (head['loss_cls']['type'], head['loss_cls']['variant']) == (CE, 'gluoncv')
    assert head['loss_cls']['use_sigmoid'] is True
    assert verdict.reason == 'bbox_head: sigmoid gluoncv, K=80: true 0.9875, others 0.0125'


def test_every_stage_of_a_cascade_is_smoothed_and_named_together(smooth):
    cfg, verdict = smooth('cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py')
    stages = cfg['model']['roi_head']['bbox_head']
    assert [stage['loss_cls']['type'] for stage in stages] == [CE] * 3
    assert verdict.reason.startswith('roi_head.bbox_head[0..2]: softmax he, K=81')
    assert [item['path'] for item in verdict.promise['expected']] == [
        f'roi_head.bbox_head.{stage}.loss_cls' for stage in range(3)]


@pytest.mark.parametrize(('name', 'path', 'kind', 'count'), [
    ('detr/detr_r50_8xb2-150e_coco.py', 'bbox_head', CE, 81),
    ('deformable_detr/deformable-detr_r50_16xb2-50e_coco.py', 'bbox_head', FOCAL, 80),
    ('mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py', 'panoptic_head', CE, 134),
    ('soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py',
     'detector.roi_head.bbox_head', CE, 81),
])
def test_other_families_are_smoothed_over_their_outputs(smooth, name, path, kind, count):
    cfg, verdict = smooth(name)
    loss = config_edit.get(cfg, f'model.{path}.loss_cls')
    assert loss['type'] == kind
    assert f'{path}: ' in verdict.reason
    assert f'K={count}: ' in verdict.reason


@pytest.mark.parametrize(('name', 'reason'), [
    ('ssd/ssd300_coco.py', 'bbox_head: not smoothed, SSDHead computes its cross entropy by itself'),
    ('yolox/yolox_s_8xb8-300e_coco.py', 'YOLOXHead has the IoU of the predicted box as its'),
    ('rtmdet/rtmdet_tiny_8xb32-300e_coco.py', 'QualityFocalLoss has the quality of the box'),
    ('free_anchor/freeanchor_r50_fpn_1x_coco.py', 'FreeAnchorRetinaHead computes its bag losses'),
    ('rpn/rpn_r50_fpn_1x_coco.py', RPN_LEFT),
    ('wider_face/retinanet_r50_fpn_1x_widerface.py', 'a single class, nothing to smooth'),
    # With mmpretrain installed, mmdet's re-identifier is one of its classifiers.
    ('reid/reid_r50_8xb32-6e_mot15train80_test-mot15val20.py',
     'is not the loss of mmdet|LinearReIDHead has no loss'),
    ('centernet/centernet_r18_8xb16-crop512-140e_coco.py', 'no classification loss over class'),
])
def test_what_has_no_class_label_to_smooth_is_left_alone_with_the_reason(smooth, zoo, name, reason):
    before = config_edit.plain(Config.fromfile(str(zoo / name)))
    cfg, verdict = smooth(name)
    assert verdict.status == 'not_applicable'
    assert re.search(reason, verdict.reason)
    assert cfg == before


@pytest.mark.parametrize('name', [
    'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', 'yolo/yolov3_d53_8xb8-ms-608-273e_coco.py'])
def test_a_second_application_finds_it_present_and_changes_nothing(smooth, name):
    cfg, _ = smooth(name)
    again, verdict = _smooth(cfg, eps=0.3)
    assert verdict.status == 'present'
    assert 'bbox_head: smoothed already' in verdict.reason
    assert again == cfg


def test_a_loss_left_to_its_head_s_default_is_written_out_smoothed():
    cfg, verdict = _smooth({'model': {'type': 'FCOS', 'bbox_head': {
        'type': 'mmdet.FCOSHead', 'num_classes': 4, 'in_channels': 8}}})
    loss = cfg['model']['bbox_head']['loss_cls']
    assert (loss['type'], loss['use_sigmoid'], loss['alpha']) == (FOCAL, True, 0.25)
    assert verdict.reason == 'bbox_head: sigmoid szegedy, K=4: true 0.925, others 0.025'


def test_a_class_given_by_its_import_path_is_recognised():
    cfg, verdict = _smooth({'model': {'bbox_head': {
        'type': 'mmdet.models.dense_heads.retina_head.RetinaHead', 'num_classes': 3,
        'loss_cls': {'type': 'mmdet.models.losses.focal_loss.FocalLoss', 'use_sigmoid': True}}}})
    assert cfg['model']['bbox_head']['loss_cls']['type'] == FOCAL
    assert 'K=3' in verdict.reason


def test_an_unknown_head_gets_the_formula_instead_of_the_numbers():
    _, verdict = _smooth({'model': {'head': {
        'type': 'Mine', 'num_classes': 7, 'loss_cls': {'type': 'CrossEntropyLoss'}}}})
    assert verdict.reason == \
        'head: softmax he, K=unknown: true 1 - eps, others eps / (K - 1), eps=0.1'
    assert verdict.promise == {'expected': [
        {'path': 'head.loss_cls', 'variant': 'he', 'eps': 0.1}]}


def test_a_softmax_is_not_given_targets_that_do_not_sum_to_one(smooth):
    _, verdict = smooth('faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', variant='binary')
    assert verdict.status == 'not_applicable'
    assert "roi_head.bbox_head: not smoothed, the targets of variant 'binary' do not sum to 1" \
        in verdict.reason


@pytest.mark.parametrize('cfg', [
    {}, {'model': None}, {'model': 'RetinaNet'}, {'model': []}, {'model': {'type': 7}},
    {'model': {'loss_cls': {}}}, {'model': {'loss_cls': {'type': None}}, 'default_scope': 3},
    {'model': {'type': 'NoSuchHead', 'loss_cls': 'CrossEntropyLoss', 'num_classes': '80'}},
    {'model': {'head': {'loss_cls': {'type': 'FocalLoss'}, 'num_classes': None}, 'x': [[{}]]}},
    {'model': {'type': 'YOLOV3Head', 'one_hot_smoother': None, 'num_classes': True}},
    {'model': {'num_things_classes': 'a', 'loss_cls': {'type': 'mmdet.CrossEntropyLoss'}}},
])
def test_odd_configs_get_a_verdict(cfg):
    _, verdict = _smooth(cfg)
    assert verdict.status in ('applied', 'not_applicable')
    assert verdict.reason


@pytest.mark.parametrize(('params', 'message'), [
    ({'eps': 1}, r'tricks.label_smoothing.eps must be < 1, got 1'),
    ({'eps': 0.0}, r'tricks.label_smoothing.eps must be > 0, got 0.0'),
    ({'variant': 'bof'}, r"tricks.label_smoothing.variant must be one of \('he', .*got 'bof'"),
    ({'epsilon': 0.1}, r"unknown parameter; did you mean 'eps'\?"),
])
def test_wrong_parameters_are_named(params, message):
    with pytest.raises(TrickError, match=message):
        LabelSmoothing.from_dict(params)


@pytest.mark.parametrize(('params', 'args', 'expected'), [
    ({}, {'num_classes': 21}, {'smoothing': 0.105}),
    ({}, {'num_classes': 10}, {'smoothing': 1 / 9}),
    ({}, {'num_classes': 21, 'jsd_loss': True}, {'smoothing': 0.105}),
    ({}, {'num_classes': 21, 'bce_loss': True}, {'smoothing': 0.1}),
    ({'variant': 'he'}, {'num_classes': 21, 'bce_loss': True}, {'smoothing': 0.105}),
    ({'variant': 'szegedy', 'eps': 0.3}, {'num_classes': 7}, {'smoothing': 0.3}),
    ({'variant': 'classy_vision', 'eps': 0.25}, {'num_classes': 7}, {'smoothing': 0.2}),
])
def test_timm_gets_its_own_variant_s_smoothing(params, args, expected):
    got = LabelSmoothing.from_dict(params).timm_args(args)
    assert got == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(('params', 'args', 'words'), [
    ({}, {}, "'he' smooths over 2 classes or more, got None"),
    ({}, {'num_classes': 1}, "'he' smooths over 2 classes or more, got 1"),
    ({'variant': 'szegedy'}, {'num_classes': 1}, 'over 2 classes or more, got 1'),
    ({'variant': 'gluoncv'}, {'num_classes': 7}, "timm cannot: no eps of 'szegedy' gives"),
    ({'eps': 0.95}, {'num_classes': 10}, "'szegedy' would need eps >= 1"),
    ({}, {'num_classes': 7, 'bce_loss': True, 'bce_target_thresh': 0.2},
     '--bce-target-thresh rounds the smoothed targets back'),
])
def test_timm_smoothing_that_cannot_be_says_why(params, args, words):
    assert words in LabelSmoothing.from_dict(params).timm_args(args)


def test_timm_s_row_shows_the_targets_of_a_number():
    note = LabelSmoothing.from_dict({}).timm_note({}, {'smoothing': 1 / 9, 'num_classes': 10})
    assert note == "targets 0.9 and 0.01111 for 10 classes: He's eps 0.1"


@pytest.mark.parametrize(('head', 'promise'), [
    ({'type': 'YOLOV3Head', 'num_classes': 3, 'one_hot_smoother': 0.2,
      'loss_cls': {'type': 'CrossEntropyLoss', 'use_sigmoid': True}},
     {'variant': 'szegedy', 'eps': 0.2}),
    ({'type': 'RetinaHead', 'loss_cls': {'type': FOCAL}}, {'variant': 'szegedy', 'eps': 0.1}),
    ({'type': 'Mine', 'loss_cls': {'type': CE, 'eps': 0.3}}, {'variant': 'he', 'eps': 0.3}),
    ({'type': 'Mine', 'loss_cls': {'type': 'LabelSmoothLoss'}}, None),
])
def test_what_is_smoothed_already_is_measured_where_that_is_possible(head, promise):
    _, verdict = _smooth({'model': {'bbox_head': head}})
    assert verdict.status == 'present'
    assert verdict.promise == (promise and {
        'expected': [{'path': 'bbox_head.loss_cls', **promise}]})
