"""What ends, what stands in for it, and what is said of the config's own hooks."""

from __future__ import annotations

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import TRANSFORMS

import tricks_plugin
from tricks_plugin import TrickError

SIZE = (32, 32)
MOSAIC = dict(type='Mosaic', img_scale=SIZE, pad_val=114.0)
AFFINE = dict(type='RandomAffine', scaling_ratio_range=(0.1, 2), border=(-16, -16))
MIXUP = dict(type='MixUp', img_scale=SIZE, ratio_range=(0.8, 1.6), pad_val=114.0)
RESIZE, PACK = dict(type='Resize', scale=SIZE, keep_ratio=True), dict(type='PackDetInputs')
YOLOX = [MOSAIC, AFFINE, MIXUP, dict(type='YOLOXHSVRandomAug'), dict(type='RandomFlip', prob=0.5),
         RESIZE, dict(type='Pad', pad_to_square=True, pad_val=dict(img=(114.0,) * 3)), PACK]
RTMDET = [dict(type='CachedMosaic', img_scale=SIZE, max_cached_images=4),
          dict(type='RandomResize', scale=(64, 64), ratio_range=(0.5, 2.0), keep_ratio=True),
          dict(type='RandomCrop', crop_size=SIZE), dict(type='Pad', size=SIZE), PACK]
MODE_SWITCH = dict(type='YOLOXModeSwitchHook', num_last_epochs=3)


def config(steps, wrap=None, hooks=(), multi=True, **rest):
    """A config of ten epochs whose dataset has the steps, inside `wrap` where that is given."""
    inner = dict(type='CocoDataset', pipeline=[dict(type='LoadImageFromFile')])
    dataset = dict(type='MultiImageMixDataset', dataset=inner, pipeline=steps) if multi else \
        dict(type='CocoDataset', pipeline=[dict(type='LoadImageFromFile'), *steps])
    if wrap == 'ConcatDataset':
        dataset = dict(type=wrap, datasets=[dataset, dataset])
    elif wrap:
        dataset = dict(type=wrap, dataset=dataset)
    return Config({**dict(
        default_scope='mmdet', train_dataloader=dict(dataset=dataset, batch_size=2),
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=10), custom_hooks=list(hooks)),
        **rest})


def plan_of(cfg, **params):
    effective, plan = tricks_plugin.apply_tricks(cfg, dict(clean_tail=params))
    return effective, plan.tricks[0]


def switched(steps):
    return [step['transform']['type'] for step in steps if step['type'].endswith('.Switched')]


def test_the_usual_steps_end_for_the_last_tenth():
    effective, row = plan_of(config(YOLOX))
    steps = effective.train_dataloader.dataset.pipeline
    assert switched(steps) == ['Mosaic', 'RandomAffine', 'MixUp', 'YOLOXHSVRandomAug']
    assert not any('instead' in step for step in steps)
    assert row.reason == ('Mosaic, RandomAffine, MixUp, YOLOXHSVRandomAug off from epoch 9 of 10, '
                          'counted from 0')
    assert effective.custom_hooks[0] == dict(type='tricks_plugin.ClosingHook', off_fraction=0.1,
                                             off_epochs=None)
    assert row.promise == dict(off_fraction=0.1, off_epochs=None)
    _, again = plan_of(effective)
    assert again.status == 'present' and again.promise == row.promise


@pytest.mark.parametrize('wrap', ['RepeatDataset', 'ConcatDataset', 'ClassBalancedDataset'])
def test_it_reaches_into_wrappers_where_the_configs_own_hook_does_not(wrap):
    hook = dict(type='PipelineSwitchHook', switch_epoch=7, switch_pipeline=[RESIZE, PACK])
    effective, row = plan_of(config(YOLOX, wrap, [hook]))
    assert row.status == 'applied'
    assert (f'custom_hooks[0] (PipelineSwitchHook) sets the pipeline of {wrap}, which has none of '
            'its own, and changes nothing; it is left as it is') in row.reason
    dataset = effective.train_dataloader.dataset
    for one in dataset.get('datasets', [dataset.get('dataset')]):
        assert switched(one.pipeline) == ['Mosaic', 'RandomAffine', 'MixUp', 'YOLOXHSVRandomAug']
    assert effective.custom_hooks[0].to_dict() == hook


@pytest.mark.parametrize('hooks, words', [
    ([MODE_SWITCH], 'custom_hooks[0] (YOLOXModeSwitchHook) skips Mosaic, RandomAffine, MixUp '
                    'and leaves YOLOXHSVRandomAug, from epoch 6 of 10, counted from 0'),
    ([dict(type='PipelineSwitchHook', switch_epoch=8, switch_pipeline=[RESIZE, PACK])],
     'custom_hooks[0] (PipelineSwitchHook) puts another pipeline in place from epoch 8 of 10, '
     'counted from 0'),
])
def test_a_hook_that_reaches_its_dataset_is_present(hooks, words):
    _, row = plan_of(config(YOLOX, hooks=hooks))
    assert (row.status, row.reason) == ('present', words)
    assert row.promise == dict(own_from=6 if MODE_SWITCH in hooks else 8, own_steps=[
        'Mosaic', 'RandomAffine', 'MixUp', *(
            [] if MODE_SWITCH in hooks else ['YOLOXHSVRandomAug'])])


def test_what_the_user_set_is_not_lost_beside_a_hook_of_the_config():
    _, row = plan_of(config(YOLOX, hooks=[MODE_SWITCH]), off_epochs=4)
    assert row.status == 'present'
    assert row.reason.endswith('; off_epochs=4 is not used, as that hook decides')
    effective, row = plan_of(config(YOLOX, hooks=[MODE_SWITCH]), steps=('YOLOXHSVRandomAug',))
    assert row.status == 'applied'
    assert switched(effective.train_dataloader.dataset.pipeline) == ['YOLOXHSVRandomAug']
    hook = dict(type='PipelineSwitchHook', switch_epoch=8, switch_pipeline=[
        dict(type='YOLOXHSVRandomAug'), RESIZE, PACK])
    _, row = plan_of(config(YOLOX, hooks=[hook]))
    assert row.status == 'present'
    assert 'puts another pipeline in place, which still has YOLOXHSVRandomAug, from' in row.reason
    effective, row = plan_of(config(YOLOX, hooks=[hook]), steps=('YOLOXHSVRandomAug',))
    assert row.status == 'applied'
    assert 'puts in a pipeline that still has YOLOXHSVRandomAug' in row.reason
    assert 'YOLOXHSVRandomAug in custom_hooks[0].switch_pipeline too' in row.reason
    assert switched(effective.custom_hooks[0].switch_pipeline) == ['YOLOXHSVRandomAug']


@pytest.mark.parametrize('steps, wrap, status, words', [
    ([RESIZE, PACK], None, 'present', 'builds the loader anew with another pipeline from epoch 6 '
                                      'of 10'),
    ([MIXUP, PACK], None, 'applied', 'puts in a pipeline that still has MixUp'),
    (None, None, 'applied', 'names no new_train_pipeline, and leaves none when it is due'),
    ([RESIZE, PACK], 'RepeatDataset', 'applied', 'gives a pipeline to RepeatDataset, which takes '
                                                 'none')])
def test_mmyolos_hook_of_the_same_name_takes_a_pipeline(steps, wrap, status, words):
    hook = dict(type='YOLOXModeSwitchHook', num_last_epochs=3, new_train_pipeline=steps)
    effective, row = plan_of(config(YOLOX, wrap, [hook]))
    assert row.status == status and words in row.reason
    assert effective.custom_hooks[0].type == 'YOLOXModeSwitchHook'
    if steps and steps[0] is MIXUP:
        assert switched(effective.custom_hooks[0].new_train_pipeline) == ['MixUp']


def test_mmyolos_hook_never_switches_where_it_is_due_before_the_first_epoch():
    hook = dict(type='YOLOXModeSwitchHook', new_train_pipeline=[RESIZE, PACK])
    _, row = plan_of(config(YOLOX, hooks=[hook]))  # 15 of 10 epochs; mmyolo asks for equality
    assert row.status == 'applied'
    assert 'is due before the first of 10 epochs, and never switches' in row.reason


def test_every_hook_that_would_end_the_run_is_replaced_and_keeps_its_priority():
    other = dict(type='PipelineSwitchHook', switch_epoch=7, switch_pipeline=[RESIZE, PACK])
    mode = {**MODE_SWITCH, 'priority': 48, 'skip_type_keys': ['Mosaic']}
    effective, row = plan_of(config(YOLOX, 'RepeatDataset', [other, mode]))
    assert effective.custom_hooks[1].to_dict() == dict(
        type='tricks_plugin.YOLOXLossHook', num_last_epochs=3, priority=48)
    assert 'which has none of its own' in row.reason and 'AttributeError' in row.reason


def test_a_hook_that_ends_nothing_is_no_end():
    colours = dict(type='PhotoMetricDistortion')
    hook = dict(type='PipelineSwitchHook', switch_epoch=7, switch_pipeline=[colours, PACK])
    effective, row = plan_of(config([colours, RESIZE, PACK], hooks=[hook], multi=False))
    assert row.status == 'applied'
    assert 'that ends no strong step, and has PhotoMetricDistortion' in row.reason
    assert switched(effective.custom_hooks[0].switch_pipeline) == ['PhotoMetricDistortion']
    # Nothing strong before the hook puts it in.
    hook = {**hook, 'switch_pipeline': [MIXUP, PACK]}
    effective, row = plan_of(config([RESIZE, PACK], hooks=[hook], multi=False))
    assert row.status == 'applied' and row.reason.startswith('MixUp off from epoch 9 of 10')
    assert switched(effective.custom_hooks[0].switch_pipeline) == ['MixUp']


def test_a_hook_does_not_reach_the_data_set_within():
    cfg = config(YOLOX, hooks=[MODE_SWITCH])
    cfg.train_dataloader.dataset.dataset.pipeline.append(dict(type='PhotoMetricDistortion'))
    _, row = plan_of(cfg)
    assert row.status == 'present'
    effective, row = plan_of(cfg, steps=('PhotoMetricDistortion',))
    assert row.status == 'applied'
    assert 'does not reach PhotoMetricDistortion of the data set within' in row.reason
    inner = effective.train_dataloader.dataset.dataset
    assert switched(inner.pipeline) == ['PhotoMetricDistortion']


@pytest.mark.parametrize('steps, gives_way', [
    (RTMDET, True),
    ([MOSAIC, AFFINE, *RTMDET[1:]], False),  # the warp has undone the doubling
    ([RTMDET[0], {**RTMDET[1], 'scale': SIZE}, *RTMDET[2:]], False),  # drawn about 32 px
    ([MOSAIC, dict(type='RandomChoiceResize', scales=[(60, 60), (64, 64)]), PACK], True),
    ([MOSAIC, dict(type='RandomChoiceResize', scales=[(28, 28), (36, 36)]), PACK], False)])
def test_a_drawn_resize_gives_way_on_a_doubled_canvas_alone(steps, gives_way):
    effective, row = plan_of(config(steps, multi='Cached' not in steps[0]['type']))
    found = switched(effective.train_dataloader.dataset.pipeline)
    assert any(name.startswith('Random') and name.endswith('Resize') for name in found) \
        is gives_way
    assert ("on the mosaic's double canvas gives way" in row.reason) is gives_way


def test_what_keeps_a_hook_from_its_dataset_is_said():
    effective, row = plan_of(config(YOLOX, 'RepeatDataset', [MODE_SWITCH]))
    assert effective.custom_hooks[0].to_dict() == dict(type='tricks_plugin.YOLOXLossHook',
                                                       num_last_epochs=3)
    assert row.status == 'applied' and 'would end the run with an AttributeError' in row.reason
    assert 'YOLOXLossHook takes its place' in row.reason
    scoped = [{**step, 'type': f'mmdet.{step["type"]}'} for step in YOLOX]
    _, row = plan_of(config(scoped, hooks=[MODE_SWITCH]))
    assert row.status == 'applied'
    assert ('skips steps of type Mosaic, RandomAffine, MixUp, written so, and the pipeline has '
            'mmdet.Mosaic, mmdet.MixUp') in row.reason
    hook = dict(type='PipelineSwitchHook', switch_epoch=8, switch_pipeline=[*RTMDET])
    loop = dict(type='IterBasedTrainLoop', max_iters=1000)
    _, row = plan_of(config(RTMDET, hooks=[hook], multi=False, train_cfg=loop))
    assert row.status == 'applied' and 'is asked once in an iteration-based training' in row.reason
    assert 'off from iteration 900 of 1000' in row.reason
    late = dict(type='PipelineSwitchHook', switch_epoch=10, switch_pipeline=[PACK])
    _, row = plan_of(config(RTMDET, hooks=[late], multi=False))
    assert row.status == 'applied' and 'due at epoch 10 of 10, after the end' in row.reason


def test_mmengine_counts_an_iteration_based_training_as_one_epoch():
    from mmengine.runner import IterBasedTrainLoop
    loop = object.__new__(IterBasedTrainLoop)
    loop._max_epochs = 1
    assert IterBasedTrainLoop.max_epochs.fget(loop) == 1  # what the hook compares with
    effective, row = plan_of(config(YOLOX, hooks=[MODE_SWITCH], train_cfg=dict(
        type='IterBasedTrainLoop', max_iters=100)))
    assert row.status == 'applied' and 'off from iteration 90 of 100' in row.reason
    assert 'from the first iteration on' in row.reason
    assert 'the whole run would be without, but for workers' in row.reason
    assert [hook.type for hook in effective.custom_hooks[:2]] == [
        'tricks_plugin.YOLOXLossHook', 'tricks_plugin.ClosingHook']


@pytest.mark.parametrize(('epochs', 'status'), [(4, 'applied'), (3, 'applied'), (5, 'present')])
def test_a_short_run_does_not_lose_all_augmentation_to_the_configs_own_hook(epochs, status):
    # mmdet's hook with num_last_epochs=3 begins at epoch max_epochs - 4.
    effective, row = plan_of(config(YOLOX, hooks=[MODE_SWITCH], train_cfg=dict(max_epochs=epochs)))
    assert row.status == status
    if status == 'present':
        assert 'from epoch 1 of 5, counted from 0' in row.reason
        return
    assert f'off from epoch {epochs - 1} of {epochs}' in row.reason
    assert f'from epoch 0 of {epochs} on: the whole run would be without' in row.reason
    assert effective.custom_hooks[0].to_dict() == dict(type='tricks_plugin.YOLOXLossHook',
                                                       num_last_epochs=3)


@pytest.mark.parametrize('epoch', [0, -10])
def test_a_pipeline_that_is_there_for_the_whole_run_is_said_to_be(epoch):
    hook = dict(type='PipelineSwitchHook', switch_epoch=epoch, switch_pipeline=[PACK])
    _, row = plan_of(config(RTMDET, hooks=[hook], multi=False))
    assert row.status == 'present' and row.reason.endswith(
        f'from epoch {epoch} of 10, counted from 0: the whole run has that one')


def test_a_subclass_of_the_configs_own_hook_keeps_its_loss():
    from mmdet.engine.hooks import YOLOXModeSwitchHook
    from mmengine.registry import HOOKS

    class OfSomebody(YOLOXModeSwitchHook):
        pass

    HOOKS.register_module(module=OfSomebody)
    try:
        hook = dict(type='OfSomebody', num_last_epochs=3)
        effective, row = plan_of(config(YOLOX, 'RepeatDataset', [hook]))
    finally:
        HOOKS.module_dict.pop('OfSomebody')
    assert 'YOLOXLossHook takes its place' in row.reason
    assert effective.custom_hooks[0].to_dict() == dict(type='tricks_plugin.YOLOXLossHook',
                                                       num_last_epochs=3)


def test_hooks_among_the_default_ones_are_seen():
    effective, row = plan_of(config(YOLOX, 'RepeatDataset',
                                    default_hooks=dict(mode=dict(MODE_SWITCH))))
    assert row.status == 'applied' and 'default_hooks.mode (YOLOXModeSwitchHook)' in row.reason
    assert effective.default_hooks.mode.type == 'tricks_plugin.YOLOXLossHook'
    late = dict(type='PipelineSwitchHook', switch_epoch=7, switch_pipeline=[PACK])
    _, row = plan_of(config(RTMDET, multi=False, default_hooks=dict(mode=late)))
    assert row.status == 'present' and 'default_hooks.mode (PipelineSwitchHook)' in row.reason


def test_strong_steps_of_the_data_set_within_are_named():
    cfg = config(YOLOX, hooks=[MODE_SWITCH])
    cfg.train_dataloader.dataset.dataset.pipeline.append(dict(type='PhotoMetricDistortion'))
    _, row = plan_of(cfg)
    assert row.status == 'present'
    assert 'leaves YOLOXHSVRandomAug, PhotoMetricDistortion of the data set within, ' in row.reason


def test_steps_that_the_dataset_skips_stay_skipped():
    cfg = config(YOLOX)
    cfg.train_dataloader.dataset.skip_type_keys = ['MixUp']
    effective, _ = plan_of(cfg)
    steps = effective.train_dataloader.dataset.pipeline
    assert switched(steps) == ['Mosaic', 'RandomAffine', 'YOLOXHSVRandomAug']
    assert steps[2].type == 'MixUp'


def test_a_warp_with_the_mosaics_border_ends_with_it_and_alone_it_stays():
    effective, row = plan_of(config(YOLOX), steps=('Mosaic',))
    assert switched(effective.train_dataloader.dataset.pipeline) == ['Mosaic', 'RandomAffine']
    assert "RandomAffine ends too, as its border is the mosaic's" in row.reason
    _, row = plan_of(config([RESIZE, AFFINE, PACK], multi=False))
    assert row.status == 'not_applicable'
    assert row.reason == 'RandomAffine is left, as its border decides about the size'
    effective, row = plan_of(config([MOSAIC, AFFINE, PACK]), steps=('RandomAffine',))
    assert effective.train_dataloader.dataset.pipeline[1].instead[0].scale == SIZE


CROP = dict(type='RandomCrop', crop_size=(20, 20))


@pytest.mark.parametrize('steps, multi, ended', [
    # cuts boxes out of the image, which the resize then enlarges: a zoom, as MinIoURandomCrop
    ([CROP, RESIZE, PACK], False, ['RandomCrop']),
    ([CROP, dict(type='RandomResize', scale=SIZE, ratio_range=(0.5, 2.0)), CROP, PACK], False,
     ['RandomCrop']),
    # the size of the batches
    (RTMDET[1:], False, None),
    ([MOSAIC, CROP, PACK], True, ['Mosaic']),
    ([MOSAIC, CROP, RESIZE, PACK], True, ['Mosaic', 'RandomCrop']),
    ([dict(type='RandomChoice', transforms=[[CROP], [RESIZE]]), RESIZE, PACK], False, None)])
def test_a_crop_ends_where_a_resize_follows_and_gives_the_size_elsewhere(steps, multi, ended):
    effective, row = plan_of(config(steps, multi=multi))
    assert row.status == ('applied' if ended else 'not_applicable')
    if ended:
        found = effective.train_dataloader.dataset.pipeline
        assert switched(found) == ended
        assert found[-2].type == steps[-2]['type']  # the last before the packing stays


def test_a_crop_that_the_user_names_ends_anywhere():
    effective, row = plan_of(config(RTMDET, multi=False), steps=('RandomCrop',))
    assert switched(effective.train_dataloader.dataset.pipeline) == ['RandomCrop']
    assert 'nothing stands in for RandomCrop, which set the size' in row.reason
    # where a resize follows, the crop does not decide about the size
    _, row = plan_of(config([CROP, RESIZE, PACK], multi=False), steps=('RandomCrop',))
    assert 'RandomCrop off from epoch' in row.reason and 'stands in' not in row.reason


@pytest.mark.parametrize('name', ['LoadImageFromFile', 'PackDetInputs', 'mmdet.LoadAnnotations'])
def test_what_every_image_needs_cannot_end(name):
    with pytest.raises(TrickError) as error:
        plan_of(config(RTMDET, multi=False), steps=(name,))
    assert str(error.value) == (
        f'tricks.clean_tail.steps: {name} cannot end: no image comes without it')


def test_a_crop_within_a_choice_is_named():
    nest = dict(type='RandomChoice', transforms=[[RESIZE], [RESIZE, CROP, RESIZE]])
    _, row = plan_of(config([nest, PACK], multi=False))
    assert (row.status, row.reason) == ('not_applicable', (
        'RandomCrop inside RandomChoice is left, as it decides about the size'))


def test_nested_steps_end_and_policies_that_resize_are_left():
    policy = dict(type='AutoAugment', policies=[[RESIZE]])
    nest = dict(type='RandomApply', prob=0.5, transforms=[dict(type='PhotoMetricDistortion')])
    effective, row = plan_of(config([policy, nest, RESIZE, PACK], multi=False))
    steps = effective.train_dataloader.dataset.pipeline
    assert steps[1].type == 'AutoAugment'
    assert switched(steps[2].transforms) == ['PhotoMetricDistortion']
    assert 'AutoAugment is left, as steps inside it decide about the size' in row.reason


def passes(steps, tiny, on):
    """The (h, w) of the images that a pipeline delivers, its switches turned."""
    from mmdet.datasets import MultiImageMixDataset

    from tricks_plugin.mm.parts import parts
    if steps[0]['type'] == 'multi':
        dataset = MultiImageMixDataset(dataset=tiny(), pipeline=steps[1:])
    else:
        dataset = tiny(*steps)
    for part in parts(dataset):
        if isinstance(part, tricks_plugin.Switched):
            part.enabled = on
    return [tuple(dataset[number]['inputs'].shape[1:]) for number in range(6)]


@pytest.mark.slow
@pytest.mark.parametrize('steps, multi, on, off', [
    (YOLOX, True, {(32, 32)}, {(32, 32)}),
    # 24 x 32 fits into 32 x 32 as it is; the padding of the pipeline makes it square
    (RTMDET, False, {(32, 32)}, {(32, 32)}),
    # nothing after the mosaic sets a size: the stand-in does, for the whole canvas
    ([MOSAIC, PACK], True, {(64, 64)}, {(32, 32)}),
    ([MOSAIC, AFFINE, PACK], True, {(32, 32)}, {(32, 32)}),
    # with the crop off the resize alone decides: 24 x 32 in place of 20 x 20 made 32 x 32
    ([CROP, RESIZE, PACK], False, {(32, 32)}, {(24, 32)}),
    # a crop that follows needs no padding: images of 24 x 32 stay so
    ([MOSAIC, dict(type='RandomCrop', crop_size=SIZE), PACK], True, {(32, 32)}, {(24, 32)}),
])
def test_the_pipeline_delivers_valid_shapes_with_the_switch_on_and_off(steps, multi, on, off,
                                                                       tiny):
    np.random.seed(0)
    effective, _ = plan_of(config(steps, multi=multi))
    edited = [step.to_dict() for step in effective.train_dataloader.dataset.pipeline]
    edited = [dict(type='multi'), *edited] if multi else edited[1:]
    assert set(passes(edited, tiny, True)) == on
    assert set(passes(edited, tiny, False)) == off


def test_an_image_of_another_size_comes_to_the_mosaics_scale():
    effective, row = plan_of(config([MOSAIC, AFFINE, PACK]))
    assert 'a resize to 32 x 32 and a padding stand in for Mosaic, which set the size' in row.reason
    first = effective.train_dataloader.dataset.pipeline[0]
    step = TRANSFORMS.build(first.to_dict())
    step.enabled = False
    from mmdet.structures.bbox import HorizontalBoxes
    result = step(dict(img=np.full((12, 16, 3), 7, np.uint8), img_shape=(12, 16),
                       gt_bboxes=HorizontalBoxes(np.array([[2, 2, 10, 8]], np.float32))))
    assert result['img'].shape == (32, 32, 3)  # doubled to 24 x 32, and 8 rows of grey below
    assert result['img'][23].max() == 7 and result['img'][24:].min() == 114
    np.testing.assert_allclose(result['gt_bboxes'].tensor.numpy(), [[4, 4, 20, 16]])


@pytest.mark.parametrize('params, words', [
    (dict(off_epochs=10), 'tricks.clean_tail.off_epochs must be below the 10 epochs of the run, '
                          'got 10'),
    (dict(off_epochs=2, off_fraction=0.2), 'give off_fraction or off_epochs, not both'),
    (dict(steps=('Mosaik',)), "unknown transform 'Mosaik'; did you mean 'Mosaic'?"),
    (dict(steps=()), 'tricks.clean_tail.steps must name a step'),
    (dict(off_fraction=1.0), 'off_fraction must be < 1, got 1.0'),
])
def test_wrong_parameters_are_named(params, words):
    with pytest.raises(TrickError) as error:
        plan_of(config(YOLOX), **params)
    assert words in str(error.value) and '\n' not in str(error.value)


def test_what_cannot_end_is_not_applicable():
    _, row = plan_of(config(YOLOX, train_cfg=dict(max_epochs=1)))
    assert (row.status, row.reason) == ('not_applicable', (
        'a run of one epoch keeps its augmentation, as its last part would be all of it'))
    _, row = plan_of(config([RESIZE, PACK], multi=False))
    assert row.reason == ('the training pipeline has no strong step that could end '
                          '(LoadImageFromFile, Resize, PackDetInputs)')
    views = [dict(type='MultiBranch', branch_field=['sup'], sup=[MOSAIC])]
    _, row = plan_of(config(views, multi=False))
    assert 'MultiBranch: the strong view of a semi-supervised training is its method' in row.reason
