"""What a data sample holds beside boxes: rescaled as declared, known, or refused by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.structures import InstanceData
from torch import nn

from tricks_plugin import BatchRandomShapes
from tricks_plugin.mm.classes import _found
from tricks_plugin.plan.errors import TrickError
from tricks_plugin.tricks.random_shapes.content import contents_of
from tricks_plugin.tricks.random_shapes.fields import Fields
from tricks_plugin.tricks.random_shapes.fixed import fixed_backbone, try_shapes
from tricks_plugin.tricks.random_shapes.samples import Padding, Refit


def shrink(sample, **declared):
    """The sample of an image of 128 x 160 that becomes 64 x 96: factors 0.6 in x and 0.5 in y."""
    fields = Fields(**{name: tuple(value) for name, value in declared.items()})
    fields.check([sample])
    (height, width), = contents_of([sample], (128, 160))
    return Refit(old=(128, 160), new=(64, 96), content=(height, width), divisor=32,
                 goal=(height // 2, width * 3 // 5), padding=Padding(), declared=fields
                 ).sample(sample)


def sample(meta=None, **fields):
    instances = InstanceData(bboxes=torch.tensor([[20.0, 20, 60, 60]]), labels=torch.tensor([0]),
                             **fields)
    return DetDataSample(gt_instances=instances, metainfo={
        'img_shape': (128, 160), 'batch_input_shape': (128, 160), **(meta or {})})


@pytest.mark.parametrize('name, value', [
    ('points', torch.tensor([[40.0, 40.0]])), ('keypoints', torch.zeros(1, 17, 3)),
    ('radii', np.array([10.0])), ('ages', torch.tensor([7])), ('weights', [0.5]),
    ('parts', [{'x': 3.0}]), ('pieces', [torch.zeros(2, 2)]), ('outlines', [[[1, 2], [3]]])])
def test_a_field_of_numbers_that_nobody_declared_is_refused_by_name(name, value):
    with pytest.raises(TrickError, match=f"^tricks.random_shapes: .* of gt_instances.{name}; "
                       rf"tricks.random_shapes.points=\['{name}'\] scales x, y"):
        shrink(sample(**{name: value}))
    out = shrink(sample(**{name: value}), ignore=[name])
    assert out.gt_instances[name] is value


def test_all_fields_that_nobody_declared_are_named_at_once():
    fields = dict(points=torch.zeros(1, 2), radii=torch.zeros(1))
    with pytest.raises(TrickError, match=r'of gt_instances.points, gt_instances.radii; .*points='):
        shrink(sample(**fields))


def test_declared_points_and_lengths_take_the_factors_of_the_canvas():
    out = shrink(sample(points=torch.tensor([[40.0, 30.0]]),
                        keypoints=torch.tensor([[[10.0, 20.0, 2.0]]]),
                        corners=np.array([[10, 20]]), radii=torch.tensor([10.0])),
                 points=['points', 'keypoints', 'corners'], lengths=['radii']).gt_instances
    torch.testing.assert_close(out.points, torch.tensor([[24.0, 15.0]]))
    torch.testing.assert_close(out.keypoints, torch.tensor([[[6.0, 10.0, 2.0]]]))
    assert out.corners.tolist() == [[6, 10]] and out.corners.dtype == np.int64
    torch.testing.assert_close(out.radii, torch.tensor([5.477226]))  # 10 times the root of 0.3
    torch.testing.assert_close(out.bboxes, torch.tensor([[12.0, 10, 36, 30]]))


def test_flags_and_words_are_no_lengths():
    out = shrink(sample(crowd=torch.tensor([True]), names=['cell'])).gt_instances
    assert out.crowd.tolist() == [True] and out.names == ['cell']


def test_boxes_and_masks_under_any_name_are_rescaled():
    square = torch.tensor([[20.0, 20, 60, 60]])
    block = np.zeros((1, 128, 160), np.uint8)
    block[0, 20:60, 20:60] = 1
    corners = np.array([20.0, 20, 60, 20, 60, 60, 20, 60])
    out = shrink(sample(heads=HorizontalBoxes(square), visible=BitmapMasks(block, 128, 160),
                        shape=PolygonMasks([[corners]], 128, 160))).gt_instances
    torch.testing.assert_close(out.heads.tensor, torch.tensor([[12.0, 10, 36, 30]]))
    rows, columns = np.nonzero(out.visible.masks[0])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 29, 12, 35)
    assert (out.shape.height, out.shape.width) == (64, 96)
    np.testing.assert_allclose(out.shape.masks[0][0], [12, 10, 36, 10, 36, 30, 12, 30], rtol=1e-6)


@pytest.mark.parametrize('form', [torch.as_tensor, np.asarray])
@pytest.mark.parametrize('width, wanted', [(160, 96), (150, 90)])  # padded and not
def test_flags_of_pixels_keep_to_the_pixels(form, width, wanted):
    block = np.zeros((1, 128, width), bool)
    block[0, 20:60, 20:60] = True
    out = shrink(sample(dict(img_shape=(128, width)), valid=form(block))).gt_instances.valid
    rows, columns = np.nonzero(np.asarray(out)[0])
    assert tuple(out.shape) == (1, 64, wanted)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 29, 12, 35)


def test_points_in_lists_and_dicts_are_scaled_in_their_form():
    out = shrink(sample(dict(marks={'left': [[10.0, 20.0]], 'right': [[20.0, 40.0]]}),
                        outlines=[torch.tensor([[10.0, 20], [20, 40]])]),
                 points=['marks', 'outlines'])
    for side, x, y in (('left', 6, 10), ('right', 12, 20)):
        np.testing.assert_allclose(out.marks[side], [[x, y]], rtol=1e-6)
    np.testing.assert_allclose(out.gt_instances.outlines[0], [[6, 10], [12, 20]], rtol=1e-6)


def test_points_without_x_and_y_are_refused():
    with pytest.raises(TrickError, match=r'radii must end in x, y .* got shape \(1,\)'):
        shrink(sample(radii=torch.tensor([10.0])), points=['radii'])


def test_meta_per_box_or_of_the_image_s_size_is_refused_and_that_of_one_image_is_not():
    known = dict(img_id=1, ori_shape=(256, 320), scale_factor=(0.5, 0.5), weather=[1.0, 2.0])
    assert shrink(sample(known)).weather == [1.0, 2.0]
    for value in ([17.0], np.zeros((128, 160))):
        with pytest.raises(TrickError, match='of the meta information heights'):
            shrink(sample(dict(heights=value)))
    assert shrink(sample(dict(heights=[10.0])), lengths=['heights']).heights == \
        pytest.approx([5.477226])


def test_meta_of_as_many_entries_as_boxes_by_chance_is_told_by_the_other_images():
    def batch(*counts, meta):
        samples = [DetDataSample(
            gt_instances=InstanceData(bboxes=torch.zeros(count, 4)),
            metainfo=dict(img_shape=(128, 160), **meta(count))) for count in counts]
        return samples

    module = BatchRandomShapes(base=128, sizes=[64, 128])
    module.size = 128
    images = torch.zeros(2, 3, 128, 160)
    module(images, batch(0, 1, meta=lambda count: dict(sensor=(5.0, 6.0))))
    module(images, batch(2, 2, meta=lambda count: dict(sensor=(5.0, 6.0))))  # in mid-training
    for meta in (lambda count: dict(sizes=[1.0] * count),
                 lambda count: dict(sizes={'left': np.ones(count), 'unit': 'm'})):
        with pytest.raises(TrickError, match='of the meta information sizes'):
            module(images, batch(1, 2, meta=meta))
    with pytest.raises(TrickError, match='of the meta information pair'):
        module(images, batch(2, 2, meta=lambda count: dict(pair=(5.0, 6.0))))


def test_a_field_that_is_neither_instances_nor_pixels_is_refused():
    item = sample()
    item.set_field(torch.zeros(128, 160), 'depth', dtype=torch.Tensor)
    with pytest.raises(TrickError, match=r"makes of depth \(Tensor\); .*ignore=\['depth'\]"):
        shrink(item)
    assert shrink(item, ignore=['depth']).depth.shape == (128, 160)


def test_images_beside_the_inputs_of_a_batch_are_refused():
    batch = dict(inputs=[torch.zeros(3, 8, 8)], data_samples=[], thermal=[torch.zeros(1, 8, 8)])
    with pytest.raises(TrickError, match='the batch holds thermal beside inputs'):
        Fields().check_batch(batch)
    Fields(ignore=('thermal',)).check_batch(batch)


class Flat(nn.Module):
    """A head that takes feature maps of one size only."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3 * 128 * 128, 2)

    def forward(self, features):
        return self.layer(features[0].flatten(1))


def test_a_head_of_one_size_is_told_by_trying():
    model = nn.Module()
    model.backbone, model.bbox_head = Positions(dynamic=True), Flat()
    augment = BatchRandomShapes(base=128, sizes=[64, 128])
    with pytest.raises(TrickError, match=r'takes images of \(128, 128\) \(h, w\) px and not of '
                       r'\(64, 64\)'):
        try_shapes(model, augment, [torch.zeros(3, 128, 128)])
    model.bbox_head = nn.Identity()
    try_shapes(model, augment, [torch.zeros(3, 128, 128)])
    # one of the tail's size alone
    model.backbone.dynamic = False
    smaller = BatchRandomShapes(base=128, sizes=[64, 96])
    try_shapes(model, smaller, [torch.zeros(3, 128, 128)])
    with pytest.raises(TrickError, match=r'images of \(128, 128\) \(h, w\) px and not of \(64, 64'):
        try_shapes(model, smaller, [torch.zeros(3, 128, 128)], ends=True)
    # images that the data preprocessor pads to 128 px
    model.data_preprocessor = nn.Module()
    model.data_preprocessor.pad_size_divisor = 32
    with pytest.raises(TrickError, match='Positions takes images of'):
        try_shapes(model, augment, [torch.zeros(3, 110, 128), torch.zeros(3, 100, 97)])


class Positions(nn.Module):
    """A backbone that adds a map of positions of one size, or of any."""

    def __init__(self, img_size=128, dynamic=False):
        super().__init__()
        self.dynamic = dynamic
        self.norm = nn.BatchNorm2d(3)
        self.positions = nn.Parameter(torch.zeros(3, img_size, img_size))

    def forward(self, images):
        positions = 0 if self.dynamic else self.positions
        return [self.norm(images + positions)]


@pytest.fixture()
def registered():
    MODELS.register_module(module=Positions, name='PositionsOfTest')
    yield
    MODELS._module_dict.pop('PositionsOfTest')
    _found.pop(('PositionsOfTest', 'mmdet'), None)


@pytest.mark.usefixtures('registered')
@pytest.mark.parametrize('backbone, words', [
    (dict(type='PositionsOfTest', img_size=128), 'is PositionsOfTest, which takes images of one '
     'size only (img_size=128)'),
    (dict(type='PositionsOfTest'), 'size only (img_size)'),
    (dict(type='PositionsOfTest', dynamic=True), ''),
    (dict(type='PositionsOfTest', img_size=64), ''),  # not of the config's own size either
    (dict(type='SwinTransformer', embed_dims=24, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1),
          pretrain_img_size=128, use_abs_pos_embed=True), 'use_abs_pos_embed=True'),
    (dict(type='SwinTransformer', embed_dims=24, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1)), ''),
    (dict(type='ResNet', depth=18), ''), (dict(type='Unheard', img_size=3), ''),
])
def test_a_backbone_of_one_size_is_told_by_trying(backbone, words):
    reason = fixed_backbone(dict(backbone=backbone), 128, 64, 'mmdet')
    assert words in reason and bool(reason) == bool(words)


def test_a_trial_leaves_statistics_modes_and_draws_alone():
    holder = nn.Module()
    holder.backbone = Positions(dynamic=True)
    holder.train()
    before = [value.clone() for value in holder.state_dict().values()]
    augment = BatchRandomShapes(base=128, sizes=[64, 128])
    state = torch.get_rng_state()
    try_shapes(holder, augment, [torch.zeros(3, 128, 128)])
    assert torch.equal(torch.get_rng_state(), state)
    for one, two in zip(before, holder.state_dict().values(), strict=True):
        assert torch.equal(one, two)
    assert holder.training and holder.backbone.norm.training
    holder.backbone.dynamic = False
    with pytest.raises(TrickError, match='^tricks.random_shapes: .*Positions takes images of'):
        try_shapes(holder, augment, [torch.zeros(3, 128, 128)])
