"""Whatever the samples: nothing moves or vanishes, and partners are never written to."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.bbox.box_type import _box_type_to_name, box_types, register_box
from mmdet.structures.mask import BitmapMasks, PolygonMasks

from tricks_plugin import GeometryPreservingMixUp, PackWeightedDetInputs


@pytest.fixture(scope='module')
def quadrilaterals():
    """A box type of four corners, as rotated detection has it; gone after the module's tests."""
    class FourCornerBoxes(HorizontalBoxes):
        box_dim = 8

    register_box('four_corners', FourCornerBoxes)
    yield FourCornerBoxes
    box_types.pop('four_corners')
    _box_type_to_name.pop(FourCornerBoxes)


SHAPES = st.lists(st.tuples(st.integers(3, 9), st.integers(3, 9), st.integers(0, 3),
                            st.booleans()), min_size=2, max_size=7)
KINDS = st.sampled_from(['horizontal', 'four corners', 'array', 'array of eight'])
MASKS = st.sampled_from([None, 'bitmap', 'polygon'])


def corners(number, count, columns):
    """Coordinates that follow from the sample's number: no two samples have a box in common."""
    return (100 * number + np.arange(count * columns, dtype=np.float32)).reshape(count, columns)


def masks_of(kind, number, count, height, width):
    """Every mask is one block of 2 x 2 whose place follows from the sample's number."""
    places = [(number % (height - 1), (number + box) % (width - 1)) for box in range(count)]
    if kind == 'polygon':
        rings = [[np.array([x, y, x + 2, y, x + 2, y + 2, x, y + 2], float)] for y, x in places]
        return PolygonMasks(rings, height, width)
    bits = np.zeros((count, height, width), np.uint8)
    for box, (y, x) in enumerate(places):
        bits[box, y:y + 2, x:x + 2] = 1
    return BitmapMasks(bits, height, width)


def make(number, height, width, count, ignored, boxes, masks, four):
    values = corners(number, count, 4 if boxes in ('horizontal', 'array') else 8)
    kind = {'horizontal': HorizontalBoxes, 'four corners': four}.get(boxes)
    results = dict(
        img=np.random.RandomState(number).randint(0, 256, (height, width, 3)).astype(np.uint8),
        img_shape=(height, width), img_id=number, gt_bboxes=kind(values) if kind else values,
        gt_bboxes_labels=10 * number + np.arange(count),
        gt_ignore_flags=np.arange(count) % 2 == int(ignored))
    if masks:
        results['gt_masks'] = masks_of(masks, number, count, height, width)
    return results


def frozen(value):
    """A sample as bytes."""
    if isinstance(value, dict):
        return {key: frozen(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [frozen(item) for item in value]
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, torch.Tensor):
        return frozen(value.numpy())
    inner = getattr(value, 'tensor', getattr(value, 'masks', None))
    return value if inner is None else (type(value).__name__, frozen(inner))


def raw(boxes):
    return boxes if isinstance(boxes, np.ndarray) else boxes.tensor.numpy()


def scribble(results):
    """Overwrites every byte of a sample, as a careless transform after the mixing might."""
    results['img'][:] = 255
    raw(results['gt_bboxes'])[:] = -1
    for key in ('gt_bboxes_labels', 'gt_ignore_flags', 'gt_mixup_weights'):
        results[key][:] = 1
    masks = getattr(results.get('gt_masks'), 'masks', [])
    for mask in masks:
        for part in mask:
            part[:] = 0


def check_joined(results, own, other, lam):
    """Compares a mixed sample with its two sources, box by box."""
    count, more = len(own['gt_bboxes_labels']), len(other['gt_bboxes_labels'])
    for start, stop, source in ((0, count, own), (count, count + more, other)):
        part = slice(start, stop)
        assert np.array_equal(raw(results['gt_bboxes'])[part], raw(source['gt_bboxes']))
        assert results['gt_bboxes_labels'][part].tolist() == source['gt_bboxes_labels'].tolist()
        assert results['gt_ignore_flags'][part].tolist() == source['gt_ignore_flags'].tolist()
        if 'gt_masks' in source:
            height, width = source['img_shape']
            joined = results['gt_masks'].to_ndarray()[part]
            assert np.array_equal(joined[:, :height, :width], source['gt_masks'].to_ndarray())
            assert joined.sum() == source['gt_masks'].to_ndarray().sum() == 4 * (stop - start)
    assert type(results['gt_bboxes']) is type(own['gt_bboxes'])
    weights = results['gt_mixup_weights']
    assert weights[:count] == pytest.approx(lam) and weights[count:] == pytest.approx(1 - lam)
    assert float(np.asarray(weights, float).sum()) == pytest.approx(
        count * lam + more * (1 - lam), abs=2 ** -24 * (count + more))
    (h1, w1), (h2, w2) = own['img_shape'], other['img_shape']
    exact = np.zeros((max(h1, h2), max(w1, w2), 3))
    exact[:h1, :w1] += lam * own['img']
    exact[:h2, :w2] += (1 - lam) * other['img']
    assert results['img_shape'] == exact.shape[:2] and results['img'].shape == exact.shape
    assert np.abs(results['img'] - exact).max() <= 1.0


class Noted(GeometryPreservingMixUp):
    """Notes what it draws."""

    def _draw(self, results):
        self.drawn = super()._draw(results)
        return self.drawn


@settings(max_examples=40, deadline=None)
@given(SHAPES, KINDS, MASKS, st.integers(0, 2**31 - 1))
def test_nothing_moves_or_vanishes_and_no_partner_is_written_to(
        quadrilaterals, shapes, boxes, masks, seed):
    np.random.seed(seed)
    transform = Noted(cache_size=3)
    sources = []
    for number, shape in enumerate(shapes):
        sources.append(make(number, *shape, boxes, masks, quadrilaterals))
        results = transform.transform(copy.deepcopy(sources[-1]))
        partner, lam = transform.drawn
        assert (partner is None) == (number == 0)
        if partner is not None:
            check_joined(results, sources[-1], sources[partner['img_id']], lam)
        scribble(results)
        assert [entry['img_id'] for entry in transform._cache] == list(
            range(max(0, number - 2), number + 1))
        for entry in transform._cache:
            source = sources[entry['img_id']]
            weights = entry['gt_mixup_weights']
            assert weights.tolist() == [1.0] * len(weights) and weights.dtype == np.float32
            kept = {key: source[key] for key in source if key != 'img_shape'}
            assert frozen({key: entry[key] for key in kept}) == frozen(kept)


@settings(max_examples=15, deadline=None)
@given(SHAPES, KINDS, MASKS, st.integers(0, 2**31 - 1))
def test_the_same_seed_gives_the_same_bytes(quadrilaterals, shapes, boxes, masks, seed):
    runs = []
    for _ in range(2):
        np.random.seed(seed)
        transform = GeometryPreservingMixUp(prob=0.8)
        runs.append([frozen(transform.transform(make(number, *shape, boxes, masks,
                                                     quadrilaterals)))
                     for number, shape in enumerate(shapes)])
    assert runs[0] == runs[1]


@settings(max_examples=15, deadline=None)
@given(SHAPES, st.integers(0, 2**31 - 1))
def test_ignored_regions_stay_ignored_through_the_packing(shapes, seed):
    np.random.seed(seed)
    transform, pack = Noted(), PackWeightedDetInputs(meta_keys=())
    for number, shape in enumerate(shapes):
        results = transform.transform(make(number, *shape, 'horizontal', 'bitmap', None))
        flags, weights = results['gt_ignore_flags'].copy(), results['gt_mixup_weights'].copy()
        labels = results['gt_bboxes_labels'].copy()
        packed = pack.transform(results)['data_samples']
        for instances, chosen in ((packed.gt_instances, ~flags),
                                  (packed.ignored_instances, flags)):
            assert instances.labels.tolist() == labels[chosen].tolist()
            assert instances.mixup_weights.tolist() == weights[chosen].tolist()
            assert len(instances.bboxes) == len(instances.masks) == chosen.sum()


def test_boxes_of_four_corners_mix_as_worked_on_paper(quadrilaterals):
    class Fixed(GeometryPreservingMixUp):
        def _draw(self, results):
            return (self._cache[-1], 0.3) if len(self._cache) else (None, 1.0)

    transform = Fixed()
    transform.transform(make(1, 4, 2, 1, False, 'four corners', None, quadrilaterals))
    results = transform.transform(make(2, 2, 3, 2, False, 'four corners', None, quadrilaterals))
    assert results['gt_bboxes'].tensor.tolist() == [
        [200, 201, 202, 203, 204, 205, 206, 207], [208, 209, 210, 211, 212, 213, 214, 215],
        [100, 101, 102, 103, 104, 105, 106, 107]]
    assert results['gt_mixup_weights'].tolist() == pytest.approx([0.3, 0.3, 0.7])
    # boxes of another type or another number of columns are no partners
    for boxes in ('horizontal', 'array', 'array of eight'):
        fresh = GeometryPreservingMixUp()
        fresh.transform(make(1, 4, 2, 1, False, 'four corners', None, quadrilaterals))
        results = fresh.transform(make(2, 2, 3, 1, False, boxes, None, None))
        assert results['gt_mixup_weights'].tolist() == [1]
