"""What the plan says: verdicts, errors, cost."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip('mmdet')

from support.libraries import classifier, contrastive, segmentor, yolo  # noqa: E402

from tricks_plugin import apply_tricks  # noqa: E402
from tricks_plugin.mm.config_edit import plain  # noqa: E402
from tricks_plugin.mm.libraries import installed  # noqa: E402
from tricks_plugin.plan import TrickError, same  # noqa: E402


def row(cfg, **params):
    _, plan = apply_tricks(cfg, dict(distill=params))
    return plan['distill']


@pytest.mark.slow
def test_a_detector_gets_the_hook_and_the_plan_names_adapters_cost_and_end(config, teacher):
    path, weights = teacher((48, 32, 16))
    effective, plan = apply_tricks(config(), dict(distill=dict(teacher=path, checkpoint=weights)))
    found = plan['distill']
    assert found.status == 'applied', found.reason
    assert plain(effective)['custom_hooks'][0] == dict(
        type='tricks_plugin.DistillationHook', teacher=path, checkpoint=weights, scores=False,
        weight=6.0, off_fraction=0.1)
    assert ('3 levels of strides 32, 16, 8, with adapters from 32 to 48, 32 to 16 channels'
            in found.reason)
    assert 'multiply-adds forward to the' in found.reason
    assert found.reason.endswith('for an image of 256 x 256 px; off from epoch 9 of 10, '
                                 'counted from 0')
    again, second = apply_tricks(effective, dict(distill=dict(teacher=path, checkpoint=weights)))
    assert second['distill'].status == 'present' and same(plain(again), plain(effective))


def test_multiply_adds_are_those_counted_by_hand():
    from tricks_plugin.tricks.distill.survey import survey
    # On 256 px: ResNet-18's stem gives 64 px, and its stages 64, 32, 16 and 8 px.
    model = dict(backbone=dict(type='ResNet', depth=18, num_stages=1, strides=(1,),
                               dilations=(1,), out_indices=(0,)),
                 neck=dict(type='ChannelMapper', in_channels=[64], out_channels=16, kernel_size=1,
                           num_outs=1))
    found = survey(model, 'mmdet', features=True)
    stem, blocks, neck = 3 * 64 * 49 * 128 ** 2, 4 * 64 * 64 * 9 * 64 ** 2, 64 * 16 * 64 ** 2
    assert found.multiply_adds == stem + blocks + neck
    assert (found.widths, found.strides) == ((16,), (4,))


def test_a_wrong_teacher_is_an_error_that_names_what_is_wrong(config, teacher, tmp_path):
    path, weights = teacher()
    for params, message in (
        (dict(teacher=path), r"^tricks\.distill\.checkpoint must name the teacher's weights"),
        (dict(teacher=path, checkpoint='no.pth'),
         r"checkpoint must be a file that is there, got 'no\.pth'"),
        (dict(teacher='no.py', checkpoint=weights), 'teacher must be a config that can be read'),
        (dict(checkpoint=weights), r'^tricks\.distill\.teacher must name the model of'),
    ):
        with pytest.raises(TrickError, match=message):
            row(config(), **params)
    broken = tmp_path / 'broken.pth'
    broken.write_bytes(b'nothing')
    with pytest.raises(TrickError, match='checkpoint must be a checkpoint that can be read'):
        row(config(), teacher=path, checkpoint=str(broken))
    wide, _ = teacher((48, 32, 16), name='wide')
    with pytest.raises(TrickError, match=r'must fit tricks\.distill\.teacher, got .*shapes: neck'):
        row(config(), teacher=wide, checkpoint=weights)
    held = torch.load(weights)['state_dict']
    held['extra.weight'] = held.pop('backbone.conv1.conv.weight')
    torch.save(held, broken)
    with pytest.raises(TrickError, match=r'missing: backbone\.conv1\.conv\.weight; '
                                         r'left over: extra\.weight$'):
        row(config(), teacher=path, checkpoint=str(broken))


@pytest.mark.slow
def test_another_library_other_levels_and_a_class_that_is_not_there(config, teacher, tmp_path):
    path, weights = teacher()
    other = tmp_path / 'other.py'
    other.write_text("default_scope = 'mmpretrain'\nmodel = dict(type='ImageClassifier')\n")
    with pytest.raises(TrickError, match="must be of the student's library, mmdet, got"):
        row(config(), teacher=str(other), checkpoint=weights)
    other.write_text("default_scope = 'mmdet'\nmodel = dict(type='Nobody', neck=dict(type='FPN'))")
    with pytest.raises(TrickError, match='must be a model that can be built here, .*Nobody'):
        row(config(), teacher=str(other), checkpoint=weights)
    other.write_text("default_scope = 'mmdet'\nmodel = dict(type='YOLOV3')")
    with pytest.raises(TrickError, match='must be a detector with a neck, got'):
        row(config(), teacher=str(other), checkpoint=weights)
    fewer = config()
    fewer.model.backbone.out_indices, fewer.model.neck.num_scales = (4, 6), 2
    fewer.model.neck.in_channels, fewer.model.neck.out_channels = [80, 24], [32, 32]
    with pytest.raises(TrickError, match='2 levels of strides 32, 16, got .* strides 32, 16, 8'):
        row(fewer, teacher=path, checkpoint=weights)


def test_where_it_means_nothing_it_is_a_verdict(config, teacher):
    path, weights = teacher()
    named = dict(teacher=path, checkpoint=weights)
    assert row(config()).reason.startswith('no teacher is named: tricks.distill.teacher is')
    without = config()
    del without.model['neck']
    assert row(without, **named).reason.startswith('YOLOV3 has no neck here')
    assert row(config(compile=True), **named).reason.startswith('compile is set')
    for cfg, start in (
            (segmentor(), 'EncoderDecoder is no detector of mmdet and no classifier of mmpretrain'
             if installed('mmseg') else 'whether EncoderDecoder is a detector is not known'),
            (contrastive(), 'MoCo is no detector' if installed('mmpretrain') else
             'whether MoCo is a detector is not known'),
            (yolo(), 'whether YOLODetector is a detector is not known')):
        if start.endswith('known') or installed('mmseg'):
            found = row(cfg, **named)
            assert found.status == 'not_applicable' and found.reason.startswith(start)
    if not installed('mmpretrain'):
        assert row(classifier(), **named).reason == \
            'mmpretrain is not installed here, so that no teacher of it can be built'
    found = row(classifier(dict(type='MultiTaskHead')), **named)
    assert found.reason == 'model.head is MultiTaskHead, whose outputs are no plain class scores'
    for head, words in ((dict(type='LinearRegressionHead'), 'whose outputs are no plain class sco'),
                        (dict(loss=dict(type='RegressionLoss')), 'loss is RegressionLoss, so that'),
                        (dict(type='MultiLabelLinearClsHead'), 'whose labels hold together')):
        found = row(classifier(head), **named)
        assert found.status == 'not_applicable' and words in found.reason


def test_a_preprocessor_that_is_not_known_is_refused_wherever_it_is_written(tmp_path):
    pytest.importorskip('mmpretrain')
    path, weights = tmp_path / 'teacher.py', tmp_path / 'teacher.pth'
    own = dict(type='MyPreprocessor', mean=[0.0], std=[1.0])

    def teacher(preprocessor):
        classifier(preprocessor=preprocessor).dump(path)
        return dict(teacher=str(path), checkpoint=str(weights))
    torch.save(dict(state_dict={}), weights)
    with pytest.raises(TrickError, match='whose normalisation is known .*teacher.py.* with MyPrep'):
        row(classifier(), **teacher(own))
    with pytest.raises(TrickError, match='got a student with MyPreprocessor'):
        row(classifier(preprocessor=own), **teacher(None))
    with pytest.raises(TrickError, match='that can be built here'):  # the same pixels, no class
        row(classifier(preprocessor=own), **teacher(own))


def test_the_parameters_have_bounds(config):
    with pytest.raises(TrickError, match=r'distill\.weight must be > 0, got -1'):
        row(config(), weight=-1.0)
    with pytest.raises(TrickError, match=r'distill\.off_fraction must be < 1, got 1\.0'):
        row(config(), off_fraction=1.0)
    with pytest.raises(TrickError, match="teachr: unknown parameter; did you mean 'teacher'"):
        row(config(), teachr='x')


@pytest.mark.slow
def test_the_demos_teacher_fits_its_student(root, tmp_path):
    from mmdet.registry import MODELS
    from mmengine.config import Config
    demo = root / 'configs' / 'demo'
    path, weights = demo / 'yolov3_digits_teacher.py', tmp_path / 'teacher.pth'
    torch.save(MODELS.build(Config.fromfile(path).model).state_dict(), weights)
    found = row(Config.fromfile(demo / 'yolov3_digits.py'), teacher=str(path),
                checkpoint=str(weights))
    assert found.status == 'applied'
    assert ('2 levels of strides 16, 8, with adapters from 96 to 192, 64 to 128 channels; the '
            'teacher adds ') in found.reason
