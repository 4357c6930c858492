"""Where the mosaic goes in a config, what is left alone, and what is held back."""

from __future__ import annotations

import numpy as np
import pytest
from mmengine.config import Config

import tricks_plugin
from tricks_plugin import TrickError
from tricks_plugin.mm.config_edit import plain
from tricks_plugin.plan import RunFacts, same
from tricks_plugin.tricks.mosaic import MosaicParams, MosaicTrick

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)]
RESIZE = dict(type='Resize', scale=(32, 24), keep_ratio=True)
FLIP, PACK = dict(type='RandomFlip', prob=0.5), dict(type='PackDetInputs')
PHOTO = dict(type='PhotoMetricDistortion')
PLAIN = [*LOAD, RESIZE, FLIP, PACK]


def config(steps, wrap=None, hooks=(), loader=None, **rest):
    """A config of ten epochs whose dataset has the steps, inside `wrap` where that is given."""
    dataset = dict(type='CocoDataset', pipeline=steps)
    if wrap == 'ConcatDataset':
        dataset = dict(type=wrap, datasets=[dataset, dataset])
    elif wrap:
        dataset = dict(type=wrap, dataset=dataset)
    return Config({**dict(
        default_scope='mmdet', train_dataloader=dict(dataset=dataset, batch_size=2,
                                                     **(loader or {})),
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=10), custom_hooks=list(hooks)),
        **rest})


def plan_of(cfg, **params):
    effective, plan = tricks_plugin.apply_tricks(cfg, dict(mosaic=params))
    return effective, plan.tricks[0]


def kinds(steps):
    return [step['type'].rsplit('.', 1)[-1] for step in steps]


def test_it_stands_behind_the_loading_at_the_configs_own_scale():
    effective, row = plan_of(config(PLAIN))
    steps = effective.train_dataloader.dataset.pipeline
    assert kinds(steps) == ['LoadImageFromFile', 'LoadAnnotations', 'MosaicToScale', 'Resize',
                            'RandomFlip', 'PackDetInputs']
    assert steps[2].to_dict() == dict(
        type='tricks_plugin.MosaicToScale', img_scale=(32, 24), prob=1.0, ratio_range=(0.5, 1.5),
        max_cached_images=40)
    assert effective.custom_hooks[0] == dict(type='tricks_plugin.MosaicOffHook', off_fraction=0.1,
                                             off_epochs=None)
    assert (row.status, row.reason) == ('applied', (
        'windows of 32 x 24 px out of mosaics of four images, off from epoch 9 of 10, counted '
        'from 0'))
    assert row.promise == dict(prob=1.0, off_fraction=0.1, off_epochs=None)
    again, second = plan_of(effective)
    assert second.status == 'present' and second.promise == row.promise
    assert same(plain(again), plain(effective))


@pytest.mark.parametrize('steps, scale', [
    # mmdet's resizes that keep the ratio take (800, 1333) and (1333, 800) for the same
    ([dict(type='RandomChoiceResize', scales=[(480, 1333), (800, 1333)], keep_ratio=True)],
     (1333, 800)),
    ([dict(type='RandomChoice', transforms=[[dict(
        type='RandomChoiceResize', scales=[(800, 1333)], keep_ratio=True)]])], (1333, 800)),
    ([dict(type='RandomResize', scale=[(320, 320), (608, 608)], keep_ratio=True)], (608, 608)),
    ([dict(type='RandomResize', scale=(512, 1024), ratio_range=(0.1, 2.0), keep_ratio=True),
      dict(type='RandomCrop', crop_size=(512, 1024))], (512, 1024)),
    ([dict(type='Expand'), dict(type='Resize', scale=(300, 400), keep_ratio=False)], (300, 400)),
])
def test_the_scale_is_that_of_the_largest_image(steps, scale):
    effective, _ = plan_of(config([*LOAD, *steps, PACK]))
    assert effective.train_dataloader.dataset.pipeline[2].img_scale == scale


@pytest.mark.parametrize('wrap', ['RepeatDataset', 'ConcatDataset', 'ClassBalancedDataset'])
def test_it_reaches_into_wrappers(wrap):
    effective, row = plan_of(config(PLAIN, wrap))
    dataset = effective.train_dataloader.dataset
    assert row.status == 'applied'
    for one in dataset.get('datasets', [dataset.get('dataset')]):
        assert kinds(one.pipeline)[2] == 'MosaicToScale'


def test_a_wrapper_with_a_pipeline_of_its_own_may_name_the_scale():
    cfg = config(LOAD, 'Custom')
    cfg.train_dataloader.dataset.pipeline = [RESIZE, PACK]
    effective, row = plan_of(cfg)
    dataset = effective.train_dataloader.dataset
    assert kinds(dataset.dataset.pipeline)[2] == 'MosaicToScale'
    assert kinds(dataset.pipeline) == ['Resize', 'PackDetInputs']


@pytest.mark.parametrize('step, words', [
    (dict(type='CachedMosaic', img_scale=(32, 32)), 'pipeline[2] is CachedMosaic'),
    (dict(type='RandomApply', transforms=[dict(type='mmyolo.Mosaic')]),
     'pipeline[2].transforms[0] is Mosaic'),
])
def test_another_mosaic_is_present(step, words):
    cfg = config([*LOAD, step, RESIZE, PACK])
    effective, row = plan_of(cfg)
    assert (row.status, row.reason) == ('present', f'train_dataloader.dataset.{words}')
    assert same(plain(effective), plain(cfg))


def test_a_dataset_that_joins_images_is_present_or_left():
    inner = dict(type='CocoDataset', pipeline=LOAD)
    for steps, status, words in (
            ([dict(type='Mosaic', img_scale=(32, 24)), RESIZE, PACK], 'present',
             'train_dataloader.dataset.pipeline[0] is Mosaic'),
            ([dict(type='MixUp', img_scale=(32, 24)), RESIZE, PACK], 'not_applicable',
             'train_dataloader.dataset is MultiImageMixDataset, which joins several images by '
             'steps of its own (MixUp, Resize, PackDetInputs) and is left as it is')):
        cfg = config(LOAD, train_dataloader=dict(batch_size=2, dataset=dict(
            type='MultiImageMixDataset', dataset=inner, pipeline=steps)))
        _, row = plan_of(cfg)
        assert (row.status, row.reason) == (status, words)


@pytest.mark.parametrize('load, words', [
    (dict(with_mask=True), 'pipeline[1] loads masks, and'),
    (dict(with_seg=True), 'pipeline[1] loads a semantic map, which a mosaic does not join'),
    (dict(with_keypoints=True), 'pipeline[1] loads keypoints'),
    (dict(with_bbox=False), 'pipeline[1] loads no boxes'),
    (dict(box_type='rbox'), "pipeline[1] loads boxes of type 'rbox', and the window of a mosaic"),
    (dict(type='LoadPanopticAnnotations'), 'is LoadPanopticAnnotations: panoptic maps hold'),
    (dict(type='LoadProposals'), 'pipeline has no step that loads boxes (LoadImageFromFile, '
                                 'LoadProposals, Resize, PackDetInputs)'),
])
def test_what_a_mosaic_cannot_join_is_not_applicable(load, words):
    steps = [LOAD[0], {'type': 'LoadAnnotations', **load}, RESIZE, PACK]
    _, row = plan_of(config(steps))
    assert row.status == 'not_applicable' and words in row.reason


@pytest.mark.parametrize('change, words', [
    (dict(default_scope='mmrotate'), "default_scope is 'mmrotate', and this trick knows the "
                                     'pipelines of mmdet alone'),
    (dict(train_dataloader=None), 'the config has no training pipeline'),
    (dict(model=dict(type='SoftTeacher')), 'SoftTeacher: a semi-supervised detector pairs views'),
])
def test_other_configs_are_not_applicable(change, words):
    _, row = plan_of(config(PLAIN, **change))
    assert row.status == 'not_applicable' and words in row.reason


def test_a_pipeline_that_names_no_scale_or_has_more_to_join_is_not_applicable():
    _, row = plan_of(config([*LOAD, FLIP, PACK]))
    assert row.reason == 'no step of the training pipeline says at which scale it trains'
    _, row = plan_of(config([*LOAD, dict(type='LoadProposals'), RESIZE, PACK]))
    assert 'pipeline[2] is LoadProposals: stored proposals belong to one image' in row.reason
    _, row = plan_of(config([*LOAD, RESIZE, dict(type='PackTrackInputs')]))
    assert 'it packs videos, whose frames belong together' in row.reason


def test_what_ends_it_first_and_what_empties_its_caches_is_said():
    hook = dict(type='PipelineSwitchHook', switch_epoch=7, switch_pipeline=[*LOAD, RESIZE, PACK])
    _, row = plan_of(config(PLAIN, hooks=[hook], loader=dict(num_workers=2)))
    assert row.reason.endswith(
        'off from epoch 7, counted from 0, as custom_hooks[0] puts a pipeline without mosaics in '
        'place; train_dataloader.persistent_workers is off: each worker begins every epoch with '
        'an empty cache, and its first four samples are no mosaics')
    assert row.promise['replaced'] is True
    _, row = plan_of(config(PLAIN, 'RepeatDataset', [hook],
                            dict(num_workers=2, persistent_workers=True)))
    assert row.reason.endswith('off from epoch 9 of 10, counted from 0')
    assert 'replaced' not in row.promise


@pytest.mark.parametrize('loop, params, words', [
    (dict(type='IterBasedTrainLoop', max_iters=1000), {}, 'off from iteration 900 of 1000, '
                                                          'counted from 0'),
    (dict(max_epochs=1), {}, 'mosaics of four images, on to the end'),
    (dict(max_epochs=20), dict(off_epochs=5, prob=0.5), 'with a probability of 0.5, off from '
                                                        'epoch 15 of 20, counted from 0'),
    (dict(type='IterBasedTrainLoop', max_iters=1000), dict(off_epochs=2),
     'off for the last 2 epochs (not checked to be fewer than those of the run: '
     'train_dataloader.dataset names no annotation file)'),
])
def test_the_plan_says_until_when(loop, params, words):
    _, row = plan_of(config(PLAIN, train_cfg=loop), **params)
    assert row.reason.endswith(words)


@pytest.mark.parametrize('params, words', [
    (dict(off_epochs=10), 'tricks.mosaic.off_epochs must be below the 10 epochs of the run, got'),
    (dict(off_epochs=2, off_fraction=0.2), 'give off_fraction or off_epochs, not both'),
    (dict(prob=0), 'tricks.mosaic.prob must be > 0, got 0'),
    (dict(max_cached_images=4), 'tricks.mosaic.max_cached_images must be >= 5, got 4'),
    (dict(ratio_range=(0.1, 2.0)), 'tricks.mosaic.ratio_range must be (low, high) with 0.5 <= low'),
    (dict(ratio_range=(1.0,)), 'tricks.mosaic.ratio_range must be (low, high)'),
    (dict(cache=3), 'tricks.mosaic.cache: unknown parameter'),
])
def test_wrong_parameters_are_named(params, words):
    with pytest.raises(TrickError) as error:
        plan_of(config(PLAIN), **params)
    assert words in str(error.value) and '\n' not in str(error.value)


def test_with_mixup_and_a_clean_tail_mosaics_are_mixed_and_all_end_together():
    cfg = config([*LOAD, RESIZE, FLIP, PHOTO, PACK])
    effective, plan = tricks_plugin.apply_tricks(cfg, ['clean_tail', 'mixup', 'mosaic'])
    assert [row.name for row in plan.tricks] == ['mosaic', 'mixup', 'clean_tail']
    assert {row.status for row in plan.tricks} == {'applied'}
    assert kinds(effective.train_dataloader.dataset.pipeline) == [
        'LoadImageFromFile', 'LoadAnnotations', 'MosaicToScale', 'Resize', 'RandomFlip',
        'Switched', 'GeometryPreservingMixUp', 'PackWeightedDetInputs']
    ends = {hook.type: hook.off_fraction for hook in effective.custom_hooks
            if 'off_fraction' in hook}
    assert ends == {'tricks_plugin.MosaicOffHook': 0.1, 'tricks_plugin.MixUpOffHook': 0.1,
                    'tricks_plugin.ClosingHook': 0.1}


def delivered(tiny, steps, on):
    """All samples of two epochs of the tiny dataset, its switches turned."""
    import random

    from tricks_plugin.mm.parts import parts
    dataset = tiny(*steps)
    for part in parts(dataset):
        if isinstance(part, tricks_plugin.MosaicToScale):
            part.enabled = on
    random.seed(1)
    np.random.seed(1)
    return [dataset[number % 20] for number in range(40)]


@pytest.mark.slow
def test_off_every_sample_is_the_plain_configs(tiny):
    effective, _ = plan_of(config([*LOAD, RESIZE, FLIP, PACK]))
    edited = [step.to_dict() for step in effective.train_dataloader.dataset.pipeline][2:]
    pairs = zip(delivered(tiny, edited, on=False),
                delivered(tiny, [RESIZE, FLIP, PACK], on=True), strict=True)
    for one, other in pairs:
        assert one['inputs'].equal(other['inputs'])
        assert one['data_samples'].metainfo == other['data_samples'].metainfo
        instances, wanted = one['data_samples'].gt_instances, other['data_samples'].gt_instances
        assert instances.bboxes.tensor.equal(wanted.bboxes.tensor)
        assert instances.labels.equal(wanted.labels)


@pytest.mark.slow
def test_mixup_blends_mosaics_and_weights_every_box(tiny):
    effective, _ = tricks_plugin.apply_tricks(config(PLAIN), ['mixup', 'mosaic'])
    steps = [step.to_dict() for step in effective.train_dataloader.dataset.pipeline][2:]
    samples = delivered(tiny, steps, on=True)[10:]
    counts = []
    for sample in samples:
        instances = sample['data_samples'].gt_instances
        assert tuple(sample['inputs'].shape[1:]) == (24, 32)
        assert len(instances.bboxes) == len(instances.mixup_weights) == len(instances.labels)
        first = float(instances.mixup_weights[0])
        rest = [float(weight) for weight in instances.mixup_weights]
        assert all(weight == pytest.approx(first) or weight == pytest.approx(1 - first)
                   for weight in rest) and len(set(rest)) == 2
        counts.append(len(rest))
    assert max(counts) > 4  # more than four images in one sample


FACTS = dict(task='detection', images=5000, epochs=150, updates=90000, batch_size=8,
             accumulation=1)


@pytest.mark.parametrize('change, words', [
    ({}, None), (dict(task=None, images=10), None),
    (dict(images=None, updates=None, epochs=None), None),  # what is not known holds nothing back
    (dict(images=205, updates=3900), '205 images (of 1000) are fewer than in the smallest run'),
    (dict(updates=7500), '12 passes over the images (of 100) are fewer'),
    (dict(images=None, updates=None, epochs=12), None),  # the config tells what an epoch is
    # 12 epochs of a set that is repeated ten times are enough
    (dict(epochs=12, updates=75000), None),
    (dict(images=1000, updates=2900, batch_size=64), '2900 updates (of 3000) are fewer'),
])
def test_short_runs_are_held_back_with_their_numbers(change, words):
    reason = MosaicTrick(MosaicParams()).pays(RunFacts(**{**FACTS, **change}))
    assert reason is None if words is None else words in reason


LEAF = dict(type='CocoDataset', ann_file='not_here.json')


@pytest.mark.parametrize('dataset, loader, held', [
    (LEAF, {}, True),
    (dict(type='ConcatDataset', datasets=[LEAF, LEAF]), {}, True),
    (dict(type='RepeatDataset', times=1, dataset=LEAF), {}, True),
    (dict(type='RepeatDataset', times=10, dataset=LEAF), {}, False),
    (dict(type='ConcatDataset', datasets=[LEAF, dict(
        type='RepeatDataset', times=10, dataset=LEAF)]), {}, False),
    (dict(type='ClassBalancedDataset', oversample_thr=0.1, dataset=LEAF), {}, False),
    (dict(type='MyWrapper', dataset=LEAF), {}, False),
    (LEAF, dict(sampler=dict(type='ClassAwareSampler')), False),
    (LEAF, dict(num_batch_per_epoch=50), False),
])
def test_epochs_are_passes_only_where_nothing_repeats_images(dataset, loader, held):
    facts = RunFacts(task='detection', epochs=30, batch_size=8, accumulation=1)
    cfg = dict(default_scope='mmdet', train_dataloader=dict(dataset=dataset, **loader))
    reason = MosaicTrick(MosaicParams()).config_pays(cfg, facts)
    assert held == bool(reason and '30 passes over the images (of 100) are fewer' in reason)
    assert held or reason is None


@pytest.mark.parametrize('backbone, augmentation, held', [
    (dict(type='CSPNeXt', widen_factor=0.5), ('RandomCrop',), 'CSPNeXt with a widen_factor of 0.5'),
    (dict(type='MobileNetV2'), ('Expand', 'MinIoURandomCrop'),
     'MobileNetV2 does not gain by a mosaic beside Expand, MinIoURandomCrop'),
    (dict(type='CSPNeXt', widen_factor=0.5), (), None),
    (dict(type='CSPDarknet', widen_factor=1.0), ('RandomCrop',), None),
    (dict(type='ResNet', depth=50), ('RandomCrop',), None),
    (None, ('RandomCrop',), None),
])
def test_small_detectors_with_a_strong_augmentation_are_held_back(backbone, augmentation, held):
    trick = MosaicTrick(MosaicParams())
    reason = trick.config_pays(dict(model=dict(backbone=backbone)),
                               RunFacts(**FACTS, augmentation=augmentation))
    assert reason is None if held is None else held in reason


def test_a_recipe_holds_it_back_and_its_name_applies_it():
    cfg = config(PLAIN)
    cfg.tricks = 'modern'
    _, plan = tricks_plugin.apply_tricks(cfg)
    assert plan['mosaic'].status == 'held_back'
    assert plan['mosaic'].reason.startswith('10 passes over the images (of 100)')
    cfg.tricks = dict(recipe='modern', mosaic=True)
    _, plan = tricks_plugin.apply_tricks(cfg)
    assert plan['mosaic'].status == 'applied'
