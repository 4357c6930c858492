"""The config edit of mixup."""

from __future__ import annotations

import copy
import re

import pytest
from mmengine.config import Config

from tricks_plugin.mm import classes, config_edit
from tricks_plugin.plan.errors import TrickError
from tricks_plugin.tricks import TRICKS

pytestmark = pytest.mark.slow


def apply(cfg, **params):
    """The edited plain config and the verdict."""
    cfg = config_edit.plain(cfg)
    return cfg, TRICKS.get('mixup').from_dict(params).apply(cfg)


def load(zoo, path):
    return Config.fromfile(zoo / path)


def small(*steps, wrapper=None, **more):
    """A config around a pipeline."""
    dataset = dict(type='CocoDataset', pipeline=[dict(type='LoadImageFromFile'), *steps])
    if wrapper:
        dataset = dict(wrapper, dataset=dataset)
    return dict(train_dataloader=dict(dataset=dataset),
                model=dict(type='YOLOV3', bbox_head=dict(type='YOLOV3Head')), **more)


LOAD, PACK = dict(type='LoadAnnotations', with_bbox=True), dict(type='PackDetInputs')
MIX = 'tricks_plugin.GeometryPreservingMixUp'
WEIGHTED = 'tricks_plugin.PackWeightedDetInputs'


def test_yolov3_gets_the_mixing_before_the_packing_and_two_hooks(zoo):
    before = load(zoo, 'yolo/yolov3_d53_8xb8-ms-608-273e_coco.py')
    cfg, verdict = apply(before, alpha=1.0, off_epochs=20)
    steps = cfg['train_dataloader']['dataset']['pipeline']
    assert verdict.status == 'applied'
    assert verdict.reason == 'off from epoch 253 of 273, counted from 0'
    assert verdict.promise == dict(alpha=1.0, prob=1.0, off_fraction=0.1, off_epochs=20)
    assert len(steps) == len(before.train_dataloader.dataset.pipeline) + 1
    assert steps[-2] == dict(type=MIX, alpha=1.0, prob=1.0, partner='cache', cache_size=64,
                             pad_value=0.0)
    assert steps[-1] == {**before.train_dataloader.dataset.pipeline[-1], 'type': WEIGHTED}
    assert cfg['custom_hooks'] == [
        dict(type='tricks_plugin.MixUpOffHook', off_fraction=0.1, off_epochs=20),
        dict(type='tricks_plugin.MixUpWeightingHook')]


def test_voc_faster_rcnn_gets_it_in_both_datasets(zoo):
    cfg, verdict = apply(load(zoo, 'pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py'))
    pipelines = config_edit.train_pipelines(cfg)
    assert [[step['type'] for step in p.steps[-2:]] for p in pipelines] == [[MIX, WEIGHTED]] * 2
    assert pipelines[0].steps[-2] is not pipelines[1].steps[-2]
    assert verdict.status == 'applied'
    assert verdict.reason == 'off from epoch 3 of 4, counted from 0'  # both heads are weighted


def test_heads_that_are_not_weighted_are_named(zoo):
    cfg = config_edit.plain(load(zoo, 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'))
    cfg['model']['roi_head']['bbox_head']['type'] = 'SomebodysHead'
    cfg['model']['roi_head']['semantic_head'] = dict(type='FusedSemanticHead')
    assert apply(cfg)[1].reason == 'off from epoch 11 of 12, counted from 0; ' \
        'losses of SomebodysHead, FusedSemanticHead are not weighted per box'


def test_a_second_application_changes_nothing(zoo):
    cfg, _ = apply(load(zoo, 'yolo/yolov3_mobilenetv2_8xb24-320-300e_coco.py'))
    again, verdict = apply(cfg)
    assert verdict.status == 'present' and again == cfg
    assert verdict.reason.startswith('train_dataloader.dataset')
    assert verdict.promise == dict(alpha=1.5, prob=1.0, off_fraction=0.1, off_epochs=None)


def test_yolox_keeps_its_mixup_unless_it_is_to_be_replaced(zoo):
    before = config_edit.plain(load(zoo, 'yolox/yolox_s_8xb8-300e_coco.py'))
    cfg, verdict = apply(before)
    assert verdict.status == 'present' and 'is MixUp; mixup.replace=True would' in verdict.reason
    assert cfg == before
    cfg, verdict = apply(before, replace=True)
    outer = [config_edit.type_name(s) for s in cfg['train_dataloader']['dataset']['pipeline']]
    assert 'MixUp' not in outer and outer[0] == 'Mosaic'
    assert outer[-2:] == ['GeometryPreservingMixUp', 'PackWeightedDetInputs']
    assert cfg['custom_hooks'][:len(before['custom_hooks'])] == before['custom_hooks']


def test_a_pipeline_that_a_hook_switches_to_packs_weights_too(zoo):
    before = config_edit.plain(load(zoo, 'rtmdet/rtmdet_tiny_8xb32-300e_coco.py'))
    assert apply(before)[1].status == 'present'
    cfg, verdict = apply(before, replace=True)
    switch = next(hook for hook in cfg['custom_hooks'] if 'switch_pipeline' in hook)
    assert switch['switch_pipeline'][-1]['type'] == WEIGHTED
    assert not list(config_edit.find(cfg['train_dataloader'], 'CachedMixUp'))


def test_a_partner_from_the_dataset_needs_no_wrapper(zoo):
    before = config_edit.plain(load(zoo, 'pascal_voc/faster-rcnn_r50_fpn_1x_voc0712.py'))
    (cfg, verdict), (cached, _) = apply(before, partner='dataset'), apply(before)
    assert verdict.status == 'applied'
    for one, two in zip(config_edit.train_pipelines(cfg), config_edit.train_pipelines(cached),
                        strict=True):
        assert one.path == two.path and one.steps[-2]['partner'] == 'dataset'
        assert [step['type'] for step in one.steps] == [step['type'] for step in two.steps]
    again, verdict = apply(cfg, partner='dataset')
    assert verdict.status == 'present' and again == cfg


def test_a_wrapper_that_packs_is_the_only_place():
    mix = dict(type='MultiImageMixDataset', pipeline=[dict(type='Mosaic'), PACK])
    cfg, verdict = apply(small(LOAD, wrapper=mix))
    wrapper = cfg['train_dataloader']['dataset']
    assert verdict.status == 'applied'
    assert [step['type'] for step in wrapper['pipeline']] == ['Mosaic', MIX, WEIGHTED]
    assert wrapper['dataset']['pipeline'][-1] == LOAD


@pytest.mark.parametrize('path, words', [
    ('panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py', 'LoadPanopticAnnotations'),
    ('htc/htc_r50_fpn_1x_coco.py', 'a semantic map'),
    ('fast_rcnn/fast-rcnn_r50_fpn_1x_coco.py', 'would be dropped, and the model has no RPN'),
    ('soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py', 'MultiBranch'),
    ('qdtrack/qdtrack_faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_test-mot17halfval.py',
     'frames of a video'),
    # With mmpretrain installed, mmdet's re-identifier is one of its classifiers.
    ('reid/reid_r50_8xb32-6e_mot15train80_test-mot15val20.py',
     'TransformBroadcaster|ReIDDataPreprocessor'),
])
def test_what_cannot_be_mixed_is_left_alone_with_the_reason(zoo, path, words):
    before = config_edit.plain(load(zoo, path))
    cfg, verdict = apply(before)
    assert verdict.status == 'not_applicable' and re.search(words, verdict.reason)
    assert cfg == before


@pytest.mark.parametrize('cfg, words', [
    ({}, 'no training pipeline'), (dict(train_dataloader=None), 'no training pipeline'),
    (dict(train_dataloader=dict(dataset=3)), 'no training pipeline'),
    (small(LOAD), 'ends in LoadAnnotations, not in PackDetInputs'),
    (small(LOAD, 'odd'), 'ends in nothing'), (small(PACK, dict(type='ToTensor')), 'in ToTensor'),
    (small(LOAD, dict(type='MyPack')), 'derive it from tricks_plugin.PackWeightedDetInputs'),
    (small(LOAD, dict(type='mmyolo.PackDetInputs')), 'ends in mmyolo.PackDetInputs, another'),
    (small(dict(LOAD, with_bbox=False), PACK), 'loads no boxes'),
    (small(dict(LOAD, with_seg=True), PACK), 'one class per pixel, and a blended pixel shows two'),
    (small(dict(LOAD, with_keypoints=True), PACK), 'loads gt_keypoints'),
    (small(dict(type='RandomSamplingNegPos'), LOAD, PACK), 'draws a text for each image'),
])
def test_odd_configs_end_in_a_reason(cfg, words):
    before = copy.deepcopy(cfg)
    cfg, verdict = apply(cfg, replace=True)
    assert verdict.status == 'not_applicable' and words in verdict.reason
    assert cfg == before


@pytest.fixture()
def packings():
    """Packings of a user's own, registered for the test."""
    from mmdet.datasets.transforms import PackDetInputs
    from mmdet.registry import TRANSFORMS

    from tricks_plugin import PackWeightedDetInputs

    class PackLess(PackDetInputs):
        pass

    class PackMore(PackDetInputs):
        mapping_table = {**PackDetInputs.mapping_table, 'gt_mixup_weights': 'mixup_weights'}

    class PackBest(PackWeightedDetInputs):
        mapping_table = PackDetInputs.mapping_table

    class PackHeights(PackDetInputs):
        mapping_table = {**PackDetInputs.mapping_table, 'gt_heights': 'heights'}

    class PackHeightsBest(PackWeightedDetInputs):
        mapping_table = PackHeights.mapping_table

    kinds = (PackLess, PackMore, PackBest, PackHeights, PackHeightsBest)
    for kind in kinds:
        TRANSFORMS.register_module(module=kind)
    yield
    for kind in kinds:
        TRANSFORMS._module_dict.pop(kind.__name__)
        classes._found.pop((kind.__name__, 'mmdet'), None)


@pytest.mark.usefixtures('packings')
def test_a_user_s_own_packing_stays_if_it_carries_the_weights_and_else_the_fix_is_named():
    _, refused = apply(small(LOAD, dict(type='PackLess')))
    assert refused.status == 'not_applicable' and 'ends in PackLess, another' in refused.reason
    assert 'derive it from tricks_plugin.PackWeightedDetInputs, or add' in refused.reason
    for name in ('PackMore', 'PackBest'):
        cfg, verdict = apply(small(LOAD, dict(type=name, meta_keys=())))
        assert verdict.status == 'applied'
        steps = cfg['train_dataloader']['dataset']['pipeline']
        assert steps[-1] == dict(type=name, meta_keys=()) and steps[-2]['type'] == MIX


@pytest.mark.usefixtures('packings')
def test_what_a_packing_takes_along_is_to_be_declared():
    _, refused = apply(small(LOAD, dict(type='PackHeights')))
    assert 'ends in PackHeights, another' in refused.reason
    assert "also packs gt_heights: tricks.mixup.per_box=['gt_heights'] joins it" in refused.reason
    _, refused = apply(small(LOAD, dict(type='PackHeightsBest')))
    assert refused.status == 'not_applicable'
    assert 'also packs gt_heights for each box, and two images have more boxes' in refused.reason
    assert "tricks.mixup.per_box=['gt_heights'] joins it" in refused.reason
    cfg, verdict = apply(small(LOAD, dict(type='PackHeightsBest')), per_box=['gt_heights'])
    assert verdict.status == 'applied'
    assert cfg['train_dataloader']['dataset']['pipeline'][-2]['per_box'] == ['gt_heights']


@pytest.mark.parametrize('setting, key, option', [
    ('with_keypoints', 'gt_keypoints', 'per_box'), ('with_seg', 'gt_seg_map', 'ignore')])
def test_what_a_verdict_names_to_declare_is_let_in(setting, key, option):
    config = small(dict(LOAD, **{setting: True}), PACK)
    _, refused = apply(config)
    assert refused.status == 'not_applicable'
    assert f"tricks.mixup.{option}=['{key}']" in refused.reason
    assert apply(config, **{option: [key]})[1].status == 'applied'


@pytest.mark.parametrize('epochs, epoch, words', [
    (10, 4, 'off from epoch 4, counted from 0, as custom_hooks[0] puts a pipeline'),
    (10, 9, 'off from epoch 9 of 10, counted from 0'),
    (10, 12, 'off from epoch 9 of 10, counted from 0')])
def test_a_pipeline_switch_that_ends_it_earlier_is_in_the_plan(epochs, epoch, words):
    hook = dict(type='PipelineSwitchHook', switch_epoch=epoch, switch_pipeline=[LOAD, PACK])
    cfg = small(LOAD, PACK, custom_hooks=[hook], train_cfg=dict(max_epochs=epochs))
    _, verdict = apply(cfg)
    assert verdict.promise['replaced'] is True
    assert verdict.reason.startswith(words)
    outer = small(LOAD, PACK, wrapper=dict(type='RepeatDataset', times=2), custom_hooks=[hook],
                  train_cfg=dict(max_epochs=epochs))
    # the hook sets what RepeatDataset does not read
    assert apply(outer)[1].reason == 'off from epoch 9 of 10, counted from 0'


def test_a_dataset_that_shows_no_pipeline_is_named():
    cfg = dict(train_dataloader=dict(dataset=dict(type='MyWrapper', recipe='a.yml')))
    assert apply(cfg)[1].reason == ('train_dataloader.dataset is MyWrapper, which shows no list '
                                    'named pipeline')


def test_proposals_are_dropped_where_the_model_can_do_without():
    proposals = dict(type='LoadProposals')
    cfg = small(LOAD, proposals, PACK)
    _, verdict = apply(cfg)
    assert verdict.status == 'applied'
    assert verdict.reason == (
        'off for the last 0.1 of the training; proposals of train_dataloader.dataset.pipeline[2] '
        'are dropped, as they belong to one image')
    cfg['model'] = dict(type='FastRCNN', roi_head=dict(type='StandardRoIHead'))
    assert apply(cfg)[1].status == 'not_applicable'
    cfg['model']['rpn_head'] = dict(type='RPNHead')
    assert apply(cfg)[1].status == 'applied'


def test_a_mixup_inside_another_transform_cannot_be_replaced():
    nested = dict(type='RandomChoice', transforms=[[dict(type='CachedMixUp')]])
    assert apply(small(LOAD, nested, PACK))[1].status == 'present'
    _, verdict = apply(small(LOAD, nested, PACK), replace=True)
    assert verdict.status == 'not_applicable' and 'inside another transform' in verdict.reason


@pytest.mark.parametrize('hooks', [None, [], (dict(type='EMAHook'),), dict(type='EMAHook')])
def test_custom_hooks_of_any_form_are_kept(hooks):
    cfg, _ = apply(small(LOAD, PACK, custom_hooks=hooks))
    kept = list(hooks) if isinstance(hooks, tuple) else [hooks] if hooks else []
    assert cfg['custom_hooks'][:-2] == kept


def test_the_hook_that_reports_is_there_even_if_mixup_is_never_off():
    for params in (dict(off_fraction=0), dict(off_epochs=0), dict(off_fraction=0.0, off_epochs=0)):
        cfg, _ = apply(small(LOAD, PACK), **params)
        assert [hook['type'] for hook in cfg['custom_hooks']] == [
            'tricks_plugin.MixUpOffHook', 'tricks_plugin.MixUpWeightingHook']


@pytest.mark.parametrize('params, words', [
    (dict(alpha=0), 'tricks.mixup.alpha must be > 0, got 0'),
    (dict(cache_size=1), 'tricks.mixup.cache_size must be >= 2, got 1'),
    (dict(prob=1.01), 'tricks.mixup.prob must be <= 1, got 1.01'),
    (dict(partner_shape='round'), r"partner_shape must be one of \('any', 'like'\), got 'round'"),
    (dict(partner_shape='like', partner='dataset'), "got tricks.mixup.partner='dataset'"),
    (dict(partner='disk'), r"partner must be one of \('cache', 'dataset'\), got 'disk'"),
    (dict(off_fraction=1), 'off_fraction must be < 1, got 1'),
    (dict(off_epochs=-1), 'off_epochs must be >= 0, got -1'),
    (dict(alfa=1), "alfa: unknown parameter; did you mean 'alpha'"),
])
def test_wrong_parameters_are_refused(params, words):
    with pytest.raises(TrickError, match=words):
        apply({}, **params)
