"""Real detectors trained a step with smoothed targets, and the evidence that watches them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

pytest.importorskip('mmdet')

from mmdet.models.losses import FocalLoss  # noqa: E402
from mmdet.registry import MODELS  # noqa: E402
from mmdet.testing import demo_mm_inputs  # noqa: E402
from mmengine.config import Config, ConfigDict  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402

from tricks_plugin.mm import config_edit  # noqa: E402
from tricks_plugin.tricks.label_smoothing import LabelSmoothing  # noqa: E402
from tricks_plugin.tricks.label_smoothing.evidence import LabelSmoothingEvidence  # noqa: E402
from tricks_plugin.tricks.label_smoothing.smoother import TargetSmoother  # noqa: E402

pytestmark = pytest.mark.slow


def _small(model):
    """A smaller backbone of no pretrained weights, and four classes."""
    model['backbone'].pop('init_cfg', None)
    if model['backbone']['type'] == 'ResNet':
        model['backbone'].update(depth=18, frozen_stages=-1)
        model['neck'].update(in_channels=[64, 128, 256, 512], out_channels=32)
        for key in ('rpn_head', 'bbox_head'):
            if key in model:
                model[key].update(in_channels=32, feat_channels=32)
        if 'roi_head' in model:
            model['roi_head']['bbox_roi_extractor']['out_channels'] = 32
            model['roi_head']['bbox_head'].update(in_channels=32, fc_out_channels=32)
    for _, node in config_edit.walk(model):
        if node.get('num_classes') == 80:
            node['num_classes'] = 4
    return model


@pytest.fixture()
def build(zoo):
    def run(name, **params):
        init_default_scope('mmdet')
        cfg = config_edit.plain(Config.fromfile(str(zoo / name)))
        _small(cfg['model'])
        verdict = LabelSmoothing.from_dict(params).apply(cfg)
        assert verdict.status == 'applied'
        torch.manual_seed(0)
        model = MODELS.build(ConfigDict(cfg['model']))
        model.init_weights()
        return model.train(), verdict
    return run


def seen(model, targets=(), iteration=0):
    """What the evidence sees of a training of mmdet's."""
    return SimpleNamespace(model=model, criterion=None, targets=targets, iteration=iteration,
                           epoch=0)


def _train(model, verdict, iterations=1):
    """Steps on random images, watched as in a run; returns the finding and the last losses."""
    training = seen(model)
    evidence = LabelSmoothingEvidence(**verdict.promise)
    evidence.start(training)
    for step in range(iterations):
        data = demo_mm_inputs(2, [[3, 96, 128], [3, 128, 112]], num_items=[2, 3], num_classes=4)
        training.iteration, training.targets = step, data['data_samples']
        evidence.before_iteration(training)
        losses = model(**model.data_preprocessor(data, True), mode='loss')
        total, logged = model.parse_losses(losses)
        total.backward()
        evidence.after_iteration(training)
    found = evidence.finding(training)
    evidence.close()
    return found, logged


@pytest.mark.parametrize(('name', 'path', 'low', 'high'), [
    # K = 5, background included: 0.9 and 0.1 / 4
    ('faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', 'roi_head.bbox_head.loss_cls', 0.025, 0.9),
    # K = 4: 0.9 + 0.1 / 4 and 0.1 / 4
    ('retinanet/retinanet_r50_fpn_1x_coco.py', 'bbox_head.loss_cls', 0.025, 0.925),
    ('yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py', 'bbox_head.loss_cls', 0.025, 0.925),
])
def test_a_step_of_a_real_detector_sees_the_planned_targets(build, name, path, low, high):
    model, verdict = build(name)
    found, losses = _train(model, verdict)
    assert found.live is True
    assert found.values['targets'][path] == pytest.approx([low, high], abs=1e-6)
    assert found.measured == f'{path} targets {low:g} to {high:g}'
    assert f'eps 0.1: targets {low:g} to {high:g} of ' in found.planned
    assert torch.isfinite(losses['loss'])
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters()
               if parameter.grad is not None)


def test_yolov3_with_the_smoothed_loss_in_place_of_its_smoother_is_watched_too(build):
    model, verdict = build('yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py', variant='binary',
                           eps=0.3)
    found, _ = _train(model, verdict)
    assert found.live is True
    assert found.values['targets']['bbox_head.loss_cls'] == pytest.approx([0.15, 0.85], abs=1e-6)


def test_hard_targets_are_found_out(build):
    model, verdict = build('faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py')
    model.roi_head.bbox_head.loss_cls.smoother.forward = lambda one_hot: one_hot.float()
    found, _ = _train(model, verdict)
    assert found.live is False
    assert found.measured == 'roi_head.bbox_head.loss_cls targets 0 to 1'


def test_a_yolov3_whose_smoother_was_lost_is_found_out(build):
    model, verdict = build('yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py')
    model.bbox_head.one_hot_smoother = 0.0
    assert _train(model, verdict)[0].live is False


def test_a_loss_that_was_replaced_is_found_out(build):
    model, verdict = build('retinanet/retinanet_r50_fpn_1x_coco.py')
    model.bbox_head.loss_cls = FocalLoss(use_sigmoid=True)
    found, _ = _train(model, verdict)
    assert found.live is False
    assert found.measured == 'bbox_head.loss_cls has no smoothed loss in the model'


def _head(eps, **layers):
    """A container with one smoother at its end, and others on the way."""
    loss = nn.ModuleDict({'smoother': TargetSmoother(eps, 'szegedy')})
    return nn.ModuleDict({**layers, 'loss_cls': loss})


def _evidence(model, *paths, eps=0.2):
    evidence = LabelSmoothingEvidence(
        [{'path': path, 'variant': 'szegedy', 'eps': eps} for path in paths])
    evidence.start(seen(model))
    return evidence


FULL, EMPTY = [SimpleNamespace(gt_instances=[1])], [SimpleNamespace(gt_instances=[])]


def test_a_loss_that_is_never_called_is_an_error_only_after_enough_objects():
    evidence = _evidence(nn.ModuleDict({'head': _head(0.2)}), 'head.loss_cls')
    for batch in [EMPTY] * 40 + [FULL] * 19:
        evidence.after_iteration(seen(None, batch))
    assert evidence.finding(None).live is None
    evidence.after_iteration(seen(None, FULL))
    found = evidence.finding(None)
    assert (found.live, found.measured) == (False, 'head.loss_cls not called so far')


def test_a_loss_that_is_called_no_more_after_a_good_start_is_found_out():
    model = nn.ModuleDict({'head': _head(0.2)})
    evidence = _evidence(model, 'head.loss_cls')
    for _ in range(30):
        model['head']['loss_cls']['smoother'](torch.eye(4))
        evidence.after_iteration(seen(model, FULL))
    for batch in [FULL] * 19 + [EMPTY] * 40:
        evidence.after_iteration(seen(model, batch))
    assert evidence.finding(None).live is True
    evidence.after_iteration(seen(model, FULL))
    found = evidence.finding(None)
    assert (found.live, found.measured) == (
        False, 'head.loss_cls not called in the last 20 iterations with objects')


def test_a_wrapper_s_prefix_and_the_stages_of_a_cascade_are_matched():
    model = nn.ModuleDict({'student': nn.ModuleDict({'roi_head': nn.ModuleDict({
        'bbox_head': nn.ModuleList([_head(0.2), _head(0.4)])})})})
    stages = model['student']['roi_head']['bbox_head']
    evidence = _evidence(model, *(f'detector.roi_head.bbox_head.{i}.loss_cls' for i in range(2)))
    for stage in stages:
        stage['loss_cls']['smoother'](torch.eye(4)[:3])
    targets = evidence.finding(None).values['targets']
    assert targets['detector.roi_head.bbox_head.0.loss_cls'] == pytest.approx([0.05, 0.85])
    assert targets['detector.roi_head.bbox_head.1.loss_cls'] == pytest.approx([0.1, 0.7])
    assert evidence.finding(None).live is False


@pytest.mark.parametrize(('classes', 'low', 'high'), [(6, 0.05, 0.75), (3, 0.1, 0.8)])
def test_the_targets_follow_from_the_number_of_classes_that_arrives(classes, low, high):
    model = nn.ModuleDict({'head': _head(0.3)})
    evidence = _evidence(model, 'head.loss_cls', eps=0.3)
    assert evidence.finding(None).live is None
    model['head']['loss_cls']['smoother'](torch.eye(classes))
    found = evidence.finding(None)
    assert found.live is True
    assert found.values['targets']['head.loss_cls'] == pytest.approx([low, high])


def test_with_one_class_labels_stay_and_nothing_is_claimed():
    model = nn.ModuleDict({'head': _head(0.2)})
    evidence = _evidence(model, 'head.loss_cls')
    hot = torch.tensor([[True], [False]])
    assert model['head']['loss_cls']['smoother'](hot).tolist() == [[1.0], [0.0]]
    found = evidence.finding(None)
    assert found.live is None
    assert found.measured == 'head.loss_cls has one class, and nothing to spread a label over'


def test_a_teacher_s_loss_that_is_never_called_is_no_hindrance():
    model = nn.ModuleDict({'student': nn.ModuleDict({'head': _head(0.2)}),
                           'teacher': nn.ModuleDict({'head': _head(0.2)})})
    evidence = _evidence(model, 'detector.head.loss_cls')
    model['student']['head']['loss_cls']['smoother'](torch.eye(4))
    found = evidence.finding(None)
    assert found.live is True
    assert found.values['targets']['detector.head.loss_cls'] == pytest.approx([0.05, 0.85])


def test_a_teacher_s_loss_of_one_class_that_is_never_called_is_passed_over_too():
    model = nn.ModuleDict({'student': nn.ModuleDict({'head': _head(0.2)}),
                           'teacher': nn.ModuleDict({'head': _head(0.2)})})
    evidence = _evidence(model, 'detector.head.loss_cls')
    model['student']['head']['loss_cls']['smoother'](torch.tensor([[True], [False]]))
    found = evidence.finding(None)
    assert (found.live, found.measured) == (
        None, 'detector.head.loss_cls has one class, and nothing to spread a label over')


def test_background_rows_do_not_count_and_later_iterations_are_sampled():
    model = nn.ModuleDict({'head': _head(0.2)})
    smoother = model['head']['loss_cls']['smoother']
    evidence = _evidence(model, 'head.loss_cls')
    evidence.before_iteration(seen(model, FULL))
    smoother(torch.zeros(3, 4))
    found = evidence.finding(None)
    assert (found.live, found.measured) == (None, 'head.loss_cls called without objects so far')
    for _ in range(20):
        evidence.after_iteration(seen(model, FULL))
    smoother.eps = 0.6
    evidence.before_iteration(seen(model, FULL, 21))
    smoother(torch.eye(4))
    assert evidence.finding(None).live is None
    evidence.before_iteration(seen(model, FULL, 50))
    smoother(torch.eye(4))
    assert evidence.finding(None).live is False
