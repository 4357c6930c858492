"""BatchRandomShapes on batches as mmdet's preprocessor hands them over."""

from __future__ import annotations

import types

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.runner import IterBasedTrainLoop

pytest.importorskip('mmdet')

from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.structures import InstanceData, PixelData

import tricks_plugin.tricks.random_shapes.hook as hook_module
from tricks_plugin.tricks.random_shapes.batch_augment import BatchRandomShapes
from tricks_plugin.tricks.random_shapes.hook import BatchRandomShapesHook


def augment(size, base=160, **settings):
    """An augment that has drawn a size."""
    module = BatchRandomShapes(base=base, sizes=[size, base], **settings)
    module.size = size
    return module


def sample(boxes, shape=(160, 192), **fields):
    """A data sample with boxes, plain ones unless given as another type."""
    boxes = torch.tensor(boxes) if isinstance(boxes, list) else boxes
    instances = InstanceData(bboxes=boxes, labels=torch.zeros(len(boxes), dtype=torch.long))
    for name in ('masks', 'mixup_weights'):
        if name in fields:
            instances.set_field(fields.pop(name), name)
    meta = dict(img_shape=shape, pad_shape=(160, 192), batch_input_shape=(160, 192),
                scale_factor=(0.5, 0.4), ori_shape=(375, 380))
    return DetDataSample(gt_instances=instances, metainfo=meta, **fields)


def test_boxes_and_shapes_of_a_160_by_192_batch_at_four_fifths():
    given_sample = sample([[60.0, 40.0, 120.0, 81.0]], (150, 190),
                          ignored_instances=InstanceData(bboxes=torch.tensor([[0.0, 5, 12, 10]])))
    given_sample.set_metainfo(dict(homography_matrix=np.eye(3, dtype=np.float32)))
    images = torch.rand(1, 3, 160, 192)
    resized, (out,) = augment(128)(images, [given_sample])
    # 150 x 190 become 120 x 152, and these 128 x 160 in multiples of 32
    assert resized.shape == (1, 3, 128, 160)
    assert out.gt_instances.bboxes.numpy() == pytest.approx(np.array([[48, 32, 96, 64.8]]))
    assert out.ignored_instances.bboxes.numpy() == pytest.approx(np.array([[0, 4, 9.6, 8]]))
    assert out.img_shape == (120, 152)
    assert out.pad_shape == out.batch_input_shape == (128, 160)
    assert out.scale_factor == pytest.approx((0.4, 0.32))
    assert out.ori_shape == (375, 380)
    assert np.diag(out.homography_matrix).tolist() == pytest.approx([0.8, 0.8, 1.0])
    # what was given is as it was
    assert given_sample.gt_instances.bboxes.tolist() == [[60.0, 40.0, 120.0, 81.0]]
    assert given_sample.img_shape == (150, 190) and given_sample.scale_factor == (0.5, 0.4)


def test_the_base_size_changes_nothing_at_all():
    images, samples = torch.rand(1, 3, 160, 192), [sample([[1.0, 2.0, 3.0, 4.0]])]
    resized, out = augment(160)(images, samples)
    assert resized is images and out is samples


def test_weights_and_labels_stay_and_empty_boxes_pass():
    weights = torch.tensor([0.3, 0.7])
    _, (one, none) = augment(96)(torch.rand(2, 3, 160, 192), [
        sample([[0.0, 0, 10, 10], [5.0, 5, 20, 20]], mixup_weights=weights),
        sample(torch.zeros(0, 4), masks=BitmapMasks([], 160, 192))])
    assert torch.equal(one.gt_instances.mixup_weights, weights)
    assert none.gt_instances.bboxes.shape == (0, 4)
    assert none.gt_instances.masks.masks.shape == (0, 96, 128)  # 96 * 1.2 = 115.2
    assert augment(96)(torch.rand(1, 3, 160, 160), None)[1] is None


def test_box_types_stay_box_types():
    boxes = HorizontalBoxes(torch.tensor([[60.0, 40.0, 120.0, 80.0]]))
    _, (out,) = augment(128)(torch.rand(1, 3, 160, 192), [sample(boxes)])
    assert isinstance(out.gt_instances.bboxes, HorizontalBoxes)
    assert out.gt_instances.bboxes.tensor[0].tolist() == pytest.approx(
        [48.125, 32.0, 96.25, 64.0])  # 192 * 0.8 = 153.6, so the factor of x is 154/192
    assert boxes.tensor.tolist() == [[60.0, 40.0, 120.0, 80.0]]


@pytest.mark.parametrize('padded', [True, False])
def test_masks_and_maps_land_where_the_boxes_do(padded):
    h, w = (160, 192) if padded else (150, 186)
    bitmap = np.zeros((1, h, w), np.uint8)
    bitmap[0, 40:80, 60:120] = 1
    polygon = [[np.array([60.0, 40, 120, 40, 120, 80, 60, 80])]]
    seg = torch.full((1, h, w), 7)
    seg[0, 40:80, 60:120] = 3
    for masks in (BitmapMasks(bitmap, h, w), PolygonMasks(polygon, h, w)):
        _, (out,) = augment(128)(torch.rand(1, 3, 160, 192), [
            sample([[60.0, 40.0, 120.0, 80.0]], (150, 186), masks=masks,
                   gt_sem_seg=PixelData(sem_seg=seg))])
        # 150 x 186 become 120 x 149, of 148.8: x takes 149/186, and the 60 columns 48.06 to 96.1
        shape = (128, 160) if padded else (120, 149)
        new = out.gt_instances.masks
        assert (new.height, new.width) == shape
        if isinstance(new, BitmapMasks):
            assert new.masks.shape == (1, *shape)
            assert new.masks.sum() == 48 * 32 and new.masks[0, 32:64, 48:96].all()
        else:
            x1, x2 = 60 * 149 / 186, 120 * 149 / 186
            assert new.masks[0][0].tolist() == pytest.approx([x1, 32, x2, 32, x2, 64, x1, 64])
        found = out.gt_sem_seg.sem_seg
        assert found.shape == (1, *shape) and found.dtype == torch.int64
        assert (found == 3).sum() == 48 * 32 and (found[0, 32:64, 48:96] == 3).all()
        # mmdet fills a map with 255, and what was padding before is so again
        assert (found == 255).sum() == (128 * 160 - 120 * 149 if padded else 0)
    assert masks.height == h and seg.shape == (1, h, w)


def test_a_downscaled_semantic_map_keeps_its_stride():
    seg = PixelData(sem_seg=torch.zeros(1, 20, 24, dtype=torch.uint8))
    _, (out,) = augment(128)(torch.rand(1, 3, 160, 192), [
        sample([[0.0, 0, 9, 9]], gt_sem_seg=seg)])
    assert out.gt_sem_seg.sem_seg.shape == (1, 16, 20)


shapes = st.tuples(st.integers(2, 6), st.integers(2, 6))
corners = st.tuples(*[st.floats(0, 0.7) for _ in range(2)], *[st.floats(0.1, 0.3)] * 2)


@settings(max_examples=25, deadline=None)
@given(shapes, corners, st.sampled_from([64, 96, 128, 192, 224]), st.integers(0, 20))
def test_a_painted_rectangle_its_box_and_its_mask_stay_together(cells, corner, size, padding):
    h, w = 32 * cells[0], 32 * cells[1]
    valid = (h - padding, w - padding)
    x1, y1 = int(corner[0] * valid[1]), int(corner[1] * valid[0])
    x2, y2 = x1 + max(int(corner[2] * valid[1]), 8), y1 + max(int(corner[3] * valid[0]), 8)
    x2, y2 = min(x2, valid[1]), min(y2, valid[0])
    image = torch.zeros(1, 1, h, w)
    image[..., y1:y2, x1:x2] = 1.0
    item = sample([[float(x1), float(y1), float(x2), float(y2)]], valid,
                  masks=BitmapMasks(image[0].numpy().astype(np.uint8), h, w))
    item.set_metainfo(dict(pad_shape=(h, w)))
    resized, (out,) = augment(size, base=160)(image, [item])
    box = out.gt_instances.bboxes[0].tolist()
    assert box[2] <= out.img_shape[1] + 0.5 and box[3] <= out.img_shape[0] + 0.5
    assert out.img_shape[0] <= resized.shape[2] and out.img_shape[1] <= resized.shape[3]
    assert out.pad_shape == tuple(resized.shape[2:])
    mask = out.gt_instances.masks.masks[0]
    for axis, (low, high) in ((1, box[0::2]), (0, box[1::2])):
        profile = resized[0, 0].sum(1 - axis)
        positions = torch.arange(len(profile)) + 0.5
        centre = float((profile * positions).sum() / profile.sum())
        inside = np.flatnonzero(mask.any(1 - axis))
        assert abs(centre - (low + high) / 2) < 0.6
        if len(inside):
            assert abs(inside[0] - low) <= 0.51 and abs(inside[-1] + 1 - high) <= 0.51


def test_mmdets_preprocessor_runs_it_in_training_only():
    preprocessor = DetDataPreprocessor(
        pad_size_divisor=32, pad_mask=True, pad_seg=True, batch_augments=[
            dict(type='tricks_plugin.BatchRandomShapes', base=96, sizes=[64, 96])])
    (module,) = preprocessor.batch_augments
    assert not preprocessor.state_dict() and isinstance(module, BatchRandomShapes)
    module.size = 64

    def batch():
        samples = []
        for h, w in ((90, 120), (70, 128)):
            box = HorizontalBoxes(torch.tensor([[12.0, 24.0, 48.0, 60.0]]))
            item = sample(box, (h, w), masks=BitmapMasks(np.ones((1, h, w), np.uint8), h, w),
                          gt_sem_seg=PixelData(sem_seg=torch.ones(1, h, w, dtype=torch.uint8)))
            samples.append(item)
        return dict(inputs=[torch.full((3, 90, 120), 9, dtype=torch.uint8),
                            torch.full((3, 70, 128), 9, dtype=torch.uint8)], data_samples=samples)

    out = preprocessor(batch(), training=True)
    # 90 x 120 become 60 x 80, and 70 x 128 become 46.67 x 85.33: in all 64 x 96
    assert out['inputs'].shape == (2, 3, 64, 96)
    first, second = out['data_samples']
    assert first.gt_instances.bboxes[0].tolist() == pytest.approx([8.0, 16.0, 32.0, 40.0])
    assert (first.img_shape, second.img_shape) == ((60, 80), (47, 85))
    for image, (height, width) in zip(out['inputs'], ((60, 80), (47, 85)), strict=True):
        assert image[:, :height, :width].sub(9).abs().max() < 1e-4  # no padding is blended in
        assert image[:, height:].abs().max() == image[:, :, width:].abs().max() == 0
    assert second.pad_shape == (64, 96)  # its own padded shape was 96 x 128 too
    assert first.gt_instances.masks.masks.shape == (1, 64, 96)
    assert first.gt_instances.masks.masks.sum() == 60 * 80
    assert second.gt_sem_seg.sem_seg.shape == (1, 64, 96)
    assert preprocessor(batch(), training=False)['inputs'].shape == (2, 3, 96, 128)


@pytest.mark.parametrize('arguments, message', [
    (dict(base=160), 'either sizes or ratio_range must be given'),
    (dict(base=160, sizes=[64], ratio_range=(0.5, 1)), 'either sizes or ratio_range'),
    (dict(base=160, sizes=[100, 160]), r'multiples of divisor \(32\), 64 or more, got \[100\]'),
    (dict(base=160, sizes=[32, 160]), r'64 or more, got \[32\]'),
    (dict(base=160, ratio_range=(0.1, 0.2)), '64 or more, got'),
    (dict(base=0, sizes=[64]), 'base must be >= 1, got 0'),
    (dict(base=160, sizes=[64], interval=0), 'interval must be >= 1, got 0'),
    (dict(base=160, sizes=[64], home=0), 'home must be >= 1, got 0'),
    (dict(base=160, sizes=[64], share=1), r'share must be in \[0, 1\), got 1'),
    (dict(base=160, sizes=[64], side='both'), "side must be one of .*, got 'both'"),
])
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        BatchRandomShapes(**arguments)


def test_without_the_hook_the_first_batch_says_what_is_missing():
    module = BatchRandomShapes(base=160, ratio_range=(0.6, 1.0))
    assert module.sizes == [96, 128, 160]
    with pytest.raises(RuntimeError, match=r"custom_hooks=\[dict\(type='tricks_plugin.BatchRand"):
        module(torch.rand(1, 3, 160, 160), None)


class Hub(dict):
    """A message hub's two methods."""

    get_info = dict.get

    def update_info(self, key, value):
        self[key] = value


def fake_runner(seed, iteration=0, hub=None, **randomness):
    model = torch.nn.Sequential(BatchRandomShapes(base=608, ratio_range=(320 / 608, 1.0)))
    silent = types.SimpleNamespace(info=lambda text: None, warning=lambda text: None)
    return types.SimpleNamespace(
        model=model, seed=seed, iter=iteration, cfg=dict(randomness=randomness), logger=silent,
        message_hub=hub if hub is not None else Hub(), max_iters=40,
        train_loop=object.__new__(IterBasedTrainLoop),
        train_dataloader=torch.utils.data.DataLoader(range(4)))


def drawn(runner, iterations, **tail):
    hook, sizes = BatchRandomShapesHook(**tail), []
    hook.before_train(runner)
    for runner.iter in iterations:
        hook.before_train_iter(runner, 0)
        sizes.append(runner.model[0].size)
    return sizes


def test_two_ranks_draw_equal_shapes_even_where_their_seeds_differ(monkeypatch):
    # mmengine adds the rank to the seed under diff_rank_seed
    sizes = {}
    for rank in (0, 3):
        monkeypatch.setattr(hook_module, 'get_rank', lambda rank=rank: rank)
        sizes[rank] = drawn(fake_runner(42 + rank, diff_rank_seed=True), range(40))
    assert sizes[0] == sizes[3] == [608] * 10 + [512] * 10 + [448] * 10 + [320] * 10


def test_a_resumed_run_takes_the_checkpoints_seed_and_a_new_run_its_own():
    hub = Hub()
    whole = drawn(fake_runner(42, hub=hub), range(40))
    assert drawn(fake_runner(99, 25, hub), range(25, 40)) == whole[25:]
    assert drawn(fake_runner(99, 0, hub), range(40)) != whole


def test_the_tail_is_at_the_test_scale_before_and_after_a_resume():
    def run(first):
        runner = fake_runner(42, first)
        runner.model[0].home = 416
        return drawn(runner, range(first, 40), off_fraction=0.2)
    whole = run(0)
    assert whole[:10] == [608] * 10 and whole[32:] == [416] * 8
    assert run(25) == whole[25:] and run(35) == [416] * 5
    with pytest.raises(ValueError, match=r'off_fraction must be in \[0, 1\), got 1'):
        BatchRandomShapesHook(off_fraction=1)


@pytest.mark.parametrize(('epochs', 'warned'), [(9, False), (10, True)])
def test_a_tail_as_long_as_the_run_is_said_when_its_length_is_known(epochs, warned):
    runner, said = fake_runner(42), []
    runner.logger = types.SimpleNamespace(info=lambda text: None, warning=said.append)
    sizes = drawn(runner, range(40), off_epochs=epochs)  # of 4 iterations each, of 40
    assert sizes[0] == 608
    assert said == ([
        'BatchRandomShapesHook: 40 iterations without random shapes were asked for, of 40 in all; '
        'the first iteration keeps it'] if warned else [])


@pytest.mark.parametrize(('sizes', 'tail', 'first', 'last'), [
    ([320, 416, 512], 0.2, 608, 608), ([320, 416, 512], 0.0, 512, None),
    ([320, 416, 640], 0.2, 640, 608)])
def test_a_tail_larger_than_what_is_drawn_comes_first(sizes, tail, first, last):
    runner = fake_runner(42)
    runner.model[0] = BatchRandomShapes(base=608, sizes=sizes, home=608)
    found = drawn(runner, range(40), off_fraction=tail)
    assert found[:10] == [first] * 10 and set(found[10:32]) <= set(sizes)
    assert found[32:] == [last] * 8 or last is None and found[39] in sizes


def test_a_seed_of_its_own_overrides_the_runs():
    runner = fake_runner(99)
    runner.model[0].seed = 42
    assert drawn(runner, (5, 15, 25)) == [608, 512, 448]
