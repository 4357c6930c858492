"""The draws at the test scale and the tail show what a test shows: through mmdet's own steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip('mmdet')

from mmcv.transforms import Resize
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData, PixelData

from tricks_plugin.mm import config_edit
from tricks_plugin.plan import RunFacts
from tricks_plugin.plan.errors import TrickError
from tricks_plugin.tricks.random_shapes import RandomShapes
from tricks_plugin.tricks.random_shapes.batch_augment import BatchRandomShapes


def resize(scale, keep_ratio=True):
    return dict(type='Resize', scale=scale, keep_ratio=keep_ratio)


def plan(train, test, pad=32, preprocessor=None, **params):
    """The edited plain config of a detector and the verdict."""
    cfg = dict(
        model=dict(type='RetinaNet', data_preprocessor=dict(
            type='DetDataPreprocessor', pad_size_divisor=pad, **(preprocessor or {}))),
        train_dataloader=dict(dataset=dict(pipeline=[train, dict(type='PackDetInputs')])),
        val_dataloader=dict(dataset=dict(pipeline=[test, dict(type='PackDetInputs')])),
        train_cfg=dict(max_epochs=10))
    return cfg, RandomShapes.from_dict(params).apply(cfg)


def arrive(cfg, steps, image, training):
    """A batch of one image as the model gets it, in training from the tail, and its data sample."""
    steps = [dict(step) for step in steps if step['type'].endswith('Resize')]
    for step in steps:
        step.pop('type')
        image = Resize(**step)(dict(img=image))['img']
    settings = dict(cfg['model']['data_preprocessor'])
    settings.pop('type')
    preprocessor = DetDataPreprocessor(**settings)
    if training:
        preprocessor.batch_augments[-1].set_iteration(10**6, 0, tail=True, ends=True)
    item = DetDataSample(metainfo=dict(img_shape=image.shape[:2]), gt_instances=InstanceData(
        bboxes=torch.tensor([[0.0, 0.0, image.shape[1] / 2, image.shape[0] / 2]])))
    out = preprocessor(dict(inputs=[torch.as_tensor(image).permute(2, 0, 1)],
                            data_samples=[item]), training)
    return out['inputs'], out['data_samples'][0]


@pytest.mark.parametrize(('scale', 'pad', 'image', 'content', 'batch'), [
    ((192, 192), 32, (480, 640), (144, 192), (160, 192)),
    ((128, 96), 32, (480, 640), (96, 128), (96, 128)),
    ((1000, 600), 32, (375, 500), (600, 800), (608, 800)),
    ((1000, 600), 1, (375, 500), (600, 800), (608, 800)),
    ((1000, 600), 32, (800, 240), (1000, 300), (1024, 320)),  # the other side bounds it
    ((300, 300), 1, (480, 640), (225, 300), (256, 320)),
])
def test_the_tail_shows_the_image_of_the_test(scale, pad, image, content, batch):
    cfg, verdict = plan(resize(scale), resize(scale), pad)
    assert verdict.status == 'applied'
    picture = np.full((*image, 3), 200, np.uint8)
    trained, item = arrive(cfg, config_edit.train_pipelines(cfg)[0].steps, picture, True)
    tested, seen = arrive(cfg, [resize(scale)], picture, False)
    assert trained.shape[2:] == item.batch_input_shape == item.pad_shape == batch
    assert item.img_shape == seen.img_shape == content
    if pad == 32:
        assert tested.shape == trained.shape
    torch.testing.assert_close(trained[..., :tested.shape[-2], :tested.shape[-1]], tested,
                               rtol=0, atol=1e-3)
    assert trained.sum() == pytest.approx(3 * 200 * content[0] * content[1], rel=1e-5)
    height, width = content
    assert item.gt_instances.bboxes[0].tolist() == pytest.approx([0, 0, width / 2, height / 2])


@pytest.mark.parametrize('size', [160, 192, 224, 256])
def test_the_aspect_stays_at_every_size(size):
    module = BatchRandomShapes(base=256, sizes=[160, 192, 224, 256], home=192, side='long')
    module.size = size
    item = DetDataSample(metainfo=dict(img_shape=(192, 256)), gt_instances=InstanceData(
        bboxes=torch.tensor([[0.0, 0.0, 64.0, 64.0]])))
    images, (out,) = module(torch.ones(1, 3, 192, 256), [item])
    # a quarter of the width: 40, 48, 56 and 64 px, and as high
    assert out.gt_instances.bboxes[0].tolist() == [0, 0, size / 4, size / 4]
    assert out.img_shape == (size * 3 // 4, size)
    # 120, 144, 168 and 192 px, padded
    assert tuple(images.shape[2:]) == {160: (128, 160), 192: (160, 192), 224: (192, 224),
                                       256: (192, 256)}[size]


def test_the_padding_is_the_preprocessor_s_and_is_blended_into_nothing():
    pads = dict(pad_value=7, pad_mask=True, pad_seg=True, seg_pad_value=9,
                mean=[100.0] * 3, std=[50.0] * 3)
    cfg, _ = plan(resize((192, 192)), resize((192, 192)), preprocessor=pads)
    settings = dict(cfg['model']['data_preprocessor'])
    settings.pop('type')
    preprocessor = DetDataPreprocessor(**settings)
    module = preprocessor.batch_augments[0]
    module.set_iteration(0, 0, tail=True)
    samples = [DetDataSample(
        metainfo=dict(img_shape=shape),
        gt_sem_seg=PixelData(sem_seg=torch.ones(1, *shape, dtype=torch.long)),
        gt_instances=InstanceData(bboxes=torch.zeros(1, 4), masks=BitmapMasks(
            np.ones((1, *shape), np.uint8), *shape))) for shape in ((192, 256), (100, 256))]
    out = preprocessor(dict(inputs=[torch.full((3, 192, 256), 200, dtype=torch.uint8),
                                    torch.full((3, 100, 256), 200, dtype=torch.uint8)],
                            data_samples=samples), training=True)
    assert out['inputs'].shape == (2, 3, 160, 192)
    for image, item, height in zip(out['inputs'], out['data_samples'], (144, 75), strict=True):
        assert image[:, :height].sub(2).abs().max() < 1e-4  # (200 - 100) / 50
        assert (image[:, height:] == 7).all()
        assert item.img_shape == (height, 192)
        masks, seg = item.gt_instances.masks.masks, item.gt_sem_seg.sem_seg
        assert masks.shape == seg.shape == (1, 160, 192)
        assert masks[0, :height].all() and not masks[0, height:].any()
        assert (seg[0, :height] == 1).all() and (seg[0, height:] == 9).all()
    # of its own 75 px: 96 is the multiple
    assert out['data_samples'][1].pad_shape == (96, 192)


def test_a_batch_that_is_padded_further_stays_so_in_proportion():
    module = BatchRandomShapes(base=128, sizes=[64, 128])
    module.size = 64
    item = DetDataSample(metainfo=dict(img_shape=(50, 128), pad_shape=(128, 128)),
                         gt_instances=InstanceData(bboxes=torch.zeros(0, 4)))
    images, (out,) = module(torch.ones(1, 3, 128, 128), [item])
    assert tuple(images.shape[2:]) == out.pad_shape == (64, 64) and out.img_shape == (25, 64)


def test_sizes_that_lie_close_give_shapes_of_their_own():
    sizes = plan(resize((1000, 600)), resize((1000, 600)))[1].promise['sizes']
    module = BatchRandomShapes(base=736, sizes=sizes, home=600)
    shapes = [module.shape_of((736, 981), size) for size in sizes]
    assert [shape[0] for shape in shapes] == [448, 480, 512, 544, 576, 608, 640, 672, 704, 736]
    assert all(side % 32 == 0 for shape in shapes for side in shape)
    # 520 px is tested in batches of 544; the range ends at 512, which it stands for
    sizes = plan(resize((520, 520)), resize((520, 520)), ratio_range=(0.8, 1.0))[1].promise['sizes']
    assert sizes == [416, 448, 480, 520]


def test_the_resize_of_each_image_gives_way_to_the_bound_of_the_test():
    cfg, verdict = plan(dict(type='RandomResize', scale=[(1333, 480), (1333, 960)],
                             keep_ratio=True), resize((1333, 800)))
    # 1333 * 992 / 800 = 1652.9, and not 1333 * 992 / 960 = 1377.4
    assert config_edit.train_pipelines(cfg)[0].steps[0]['scale'] == (1653, 992)
    picture = np.full((500, 1000, 3), 200, np.uint8)
    _, item = arrive(cfg, config_edit.train_pipelines(cfg)[0].steps, picture, True)
    assert item.img_shape == (667, 1333)  # as the test has it


@pytest.mark.parametrize(('train', 'test', 'words'), [
    (resize((1333, 800)), resize((608, 608)),
     "the training's scale of 1333 x 800 px is none and the test's of 608 x 608 px is a square"),
    (resize((640, 640)), resize((1333, 800)),
     "the training's scale of 640 x 640 px is a square and the test's of 1333 x 800 px is none"),
    (dict(type='Pad', size=(640, 640)), resize((1333, 800)), 'is a square and'),
    (resize((640, 480), False), resize((512, 512), False), 'is none and'),
])
def test_a_square_and_a_short_side_are_not_compared(train, test, words):
    cfg, verdict = plan(train, test)
    assert verdict.status == 'not_applicable' and words in verdict.reason
    assert 'random_shapes.sizes, or .ratio_range as shares of' in verdict.reason
    assert 'batch_augments' not in cfg['model']['data_preprocessor'] and 'custom_hooks' not in cfg


def test_sizes_of_the_user_s_own_are_an_order_and_the_reason_says_what_the_tail_is():
    _, verdict = plan(resize((1333, 800)), resize((608, 608)), sizes=[640, 800])
    assert verdict.status == 'applied' and verdict.promise['home'] == 800
    assert verdict.reason.endswith(
        "at the training's own 800 px, as the training's scale of 1333 x 800 px is none and the "
        "test's of 608 x 608 px is a square, so that no one ratio brings every image from the "
        'first to the second')
    _, verdict = plan(resize((640, 640)), resize((1333, 800)), ratio_range=(0.8, 1.2))
    assert verdict.promise['sizes'] == list(range(512, 769, 32))  # of 640, and not of 1333
    with pytest.raises(TrickError, match='multiples of 32, got 600'):
        plan(resize((1333, 800)), resize((608, 608)), sizes=[600, 800])


def test_scales_that_are_compared():
    edge = dict(type='ResizeShortestEdge', scale=800, max_size=1333)
    cfg, verdict = plan(resize((1333, 800)), edge)
    assert verdict.promise['home'] == 800  # and no square of 992 px
    assert config_edit.train_pipelines(cfg)[0].steps[0]['scale'] == (1653, 992)
    assert plan(dict(type='Pad', size=(640, 640)), resize((640, 640)))[1].promise['home'] == 640


@pytest.mark.parametrize(('facts', 'words'), [
    (dict(train_scale=192, updates=6300),
     'a training scale of 192 px (of 320; no step of the test names one) is too small a run'),
    (dict(train_scale=192, updates=500), 'names one) and 500 updates (of 2000) are too small'),
    (dict(train_scale=320, updates=6300), ''),
    (dict(train_scale=192, scale=320, updates=6300), ''),  # the test's scale decides
    (dict(train_scale=640, scale=192, updates=6300), 'a test scale of 192 px (of 320) is too'),
])
def test_where_the_test_names_no_scale_the_training_s_decides(facts, words):
    reason = RandomShapes.from_dict({}).pays(RunFacts(task='detection', **facts))
    assert words in (reason or '') and bool(reason) == bool(words)


SCALES = [(1333, 800), (1000, 600), (700, 500)]
SQUARES = [(320, 320), (416, 416), (500, 500), (600, 600), (640, 640), (800, 800)]


@pytest.mark.parametrize('pad', [1, 32])
@pytest.mark.parametrize('params', [{}, dict(sizes=(608, 800)), dict(ratio_range=(0.5, 1.1))])
@pytest.mark.parametrize('scales', [SCALES, SQUARES])
def test_the_augment_takes_what_the_plan_says(scales, params, pad):
    built = 0
    for train in scales:
        for test in scales:
            cfg, verdict = plan(resize(train), resize(test), pad, **params)
            augments = cfg['model']['data_preprocessor'].get('batch_augments', [])
            for settings in augments:
                settings.pop('type')
                augment = BatchRandomShapes(**settings)
                assert augment.home == min(test)
                built += 1
            assert bool(augments) == (verdict.status == 'applied')
    assert built > len(scales)
