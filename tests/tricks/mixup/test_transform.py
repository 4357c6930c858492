"""The mixing transform and the packing that carries the weights."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from support.sums import tolerance

from tricks_plugin import GeometryPreservingMixUp, PackWeightedDetInputs
from tricks_plugin.tricks.mixup.functional import blend, planar_image
from tricks_plugin.tricks.mixup.sample import blend_planes, blended, kept, likest

pytestmark = pytest.mark.slow


def sample(number, height=5, width=8, boxes=1, channels=3, **more):
    """A sample whose pixels, boxes and labels all follow from its number."""
    shape = (height, width) + ((channels,) if channels else ())
    corners = np.array([[i, number % 3, i + 2, number % 3 + 2] for i in range(boxes)],
                       np.float32).reshape(-1, 4)
    return dict(img=np.full(shape, number, np.uint8), img_shape=(height, width), img_id=number,
                gt_bboxes=HorizontalBoxes(corners), gt_bboxes_labels=np.full(boxes, number),
                gt_ignore_flags=np.zeros(boxes, bool), **more)


def mixed(results):
    return bool((results['gt_mixup_weights'] != 1).any())


class Fixed(GeometryPreservingMixUp):
    """The draw replaced by a given share and the latest partner."""

    lam = 0.3

    def _draw(self, results):
        return (self._cache[-1], self.lam) if self._cache else (None, 1.0)


def test_two_samples_mix_as_worked_on_paper():
    transform = Fixed()
    transform.transform(sample(202, 4, 2, boxes=2))
    results = transform.transform(sample(101, 2, 3, pad_shape=(2, 3, 3), scale_factor=(2.0, 1.5)))
    assert results['img'][..., 1].tolist() == [[172, 172, 30]] * 2 + [[141, 141, 0]] * 2
    assert results['img_shape'] == (4, 3) and results['pad_shape'] == (4, 3, 3)
    assert results['scale_factor'] == (2.0, 1.5)
    assert results['gt_bboxes'].tensor.tolist() == [[0, 2, 2, 4], [0, 1, 2, 3], [1, 1, 3, 3]]
    assert results['gt_bboxes_labels'].tolist() == [101, 202, 202]
    assert results['gt_ignore_flags'].tolist() == [False] * 3
    weights = results['gt_mixup_weights']
    assert weights.dtype == np.float32 and weights == pytest.approx([0.3, 0.7, 0.7], abs=1e-7)


def test_the_first_sample_has_no_partner_and_later_ones_do():
    transform = GeometryPreservingMixUp()
    np.random.seed(1)
    shares = [mixed(transform.transform(sample(number))) for number in range(12)]
    assert shares == [False] + [True] * 11


def test_a_sample_is_never_its_own_partner():
    transform = GeometryPreservingMixUp(cache_size=2)
    assert not any(mixed(transform.transform(sample(5))) for _ in range(6))


def test_partners_of_like_shape_are_the_quarter_with_the_smallest_canvas():
    shapes = [(6, 8), (8, 6), (6, 8), (3, 4), (12, 16), (7, 8), (6, 4), (9, 9)]
    others = [sample(number, *shape) for number, shape in enumerate(shapes)]
    # Canvas to the smaller of the two, beside 6 x 8: 1, 64/48, 1, 48/12, 192/48, 56/48, 48/24,
    # 81/48. A quarter of eight is two.
    assert [one['img_id'] for one in likest(others, (6, 8, 3))] == [0, 2]
    # Beside 8 x 6: 64/48, 1, 64/48, 48/12, 64/48, 48/24, 81/48; the second of seven, three times.
    assert [one['img_id'] for one in likest(others[:4] + others[5:], (8, 6))] == [0, 1, 2, 5]
    assert [one['img_id'] for one in likest(others[:5], (6, 8))] == [0, 2]  # 1.25, rounded up
    assert likest(others[4:5], (6, 8)) == others[4:5]
    same = [sample(number, 6, 8) for number in range(9)]
    assert likest(same, (6, 8)) == same


@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
@pytest.mark.parametrize('sizes', [((6, 8), (6, 8)), ((6, 8), (9, 5)), ((4, 4), (9, 9))])
def test_planes_blend_like_images_however_they_lie(sizes, dtype):
    rng = np.random.default_rng(4)
    first, second = (rng.integers(0, 256, (*size, 3)).astype(dtype) for size in sizes)
    for one, other in ((first, second), (first[:, ::-1], second), (planar_image(first), second),
                       (first, second[..., [2, 0, 1]])):  # laid out by channels by its indexing
        found = blended(one, other, 0.3, 7.0)
        assert found.transpose(2, 0, 1).flags.c_contiguous
        assert np.array_equal(found, blend(one, other, 0.3, 7.0))
    with pytest.raises(ValueError, match=r'channels, got shapes \(3, 6, 8\) and \(1, 6, 8\)'):
        blend_planes(np.zeros((3, 6, 8), dtype), np.zeros((1, 6, 8), dtype), 0.3)


@pytest.mark.parametrize('lies', [
    lambda image: image, lambda image: image[:, ::-1], planar_image,
    lambda image: np.pad(image, ((1, 1), (0, 0), (0, 0)))[1:-1],
    lambda image: planar_image(np.pad(image, ((2, 0), (0, 0), (0, 0))))[2:]])
@pytest.mark.parametrize('fresh', [True, False])
def test_what_is_kept_lies_by_channels_in_memory_of_its_own(lies, fresh):
    image = lies(np.arange(90, dtype=np.uint8).reshape(5, 6, 3))
    results = sample(1, 5, 6)
    results['img'] = image
    entry = kept(results, fresh)
    assert np.array_equal(entry['img'], image)
    assert entry['img'].transpose(2, 0, 1).flags.c_contiguous
    assert entry['img'].base is None or entry['img'].base.nbytes == image.nbytes
    assert (results['img'] is entry['img']) == fresh
    if not fresh:
        assert not np.shares_memory(entry['img'], image)


def test_like_shapes_make_canvases_hardly_larger_than_the_images():
    def canvases(**options):
        transform = GeometryPreservingMixUp(cache_size=16, **options)
        np.random.seed(3)
        sizes = np.random.randint(20, 60, (200, 2))
        grown = []
        for number, (height, width) in enumerate(sizes):
            results = transform.transform(sample(number, int(height), int(width)))
            if number >= 16:
                assert mixed(results)
                grown.append(results['img'][..., 0].size / (height * width))
        return np.mean(grown)

    assert canvases() > 1.4
    assert canvases(partner_shape='like') < 1.35


def test_the_probability_is_the_share_of_mixed_samples():
    for partner in ('cache', 'dataset'):
        transform = GeometryPreservingMixUp(prob=0.25, partner=partner)
        np.random.seed(2)
        hits = 0
        for number in range(800):
            brought = [sample(200) for _ in transform.get_indexes(range(5))]
            more = dict(mix_results=brought) if partner == 'dataset' else {}
            hits += mixed(transform.transform(sample(number % 100, 2, 2, **more)))
        assert hits / 800 == pytest.approx(0.25, abs=0.05)


def test_the_same_seed_gives_the_same_samples():
    runs = []
    for _ in range(2):
        transform = GeometryPreservingMixUp(prob=0.7)
        np.random.seed(11)
        runs.append([transform.transform(sample(n, 3 + n % 4, 5)) for n in range(10)])
    for one, two in zip(*runs, strict=True):
        assert np.array_equal(one['img'], two['img'])
        assert np.array_equal(one['gt_mixup_weights'], two['gt_mixup_weights'])


@pytest.mark.parametrize('kind', ['bitmap', 'polygon'])
def test_masks_are_padded_to_the_canvas_and_joined(kind):
    def masks(height, width, at):
        if kind == 'polygon':
            return PolygonMasks([[np.array([at, 0, at + 2, 0, at + 2, 2, at, 2.])]], height, width)
        bits = np.zeros((1, height, width), np.uint8)
        bits[0, :2, at:at + 2] = 1
        return BitmapMasks(bits, height, width)

    transform = Fixed()
    transform.transform(sample(1, 6, 4, gt_masks=masks(6, 4, 1)))
    joined = transform.transform(sample(2, 3, 8, gt_masks=masks(3, 8, 5)))['gt_masks']
    assert (joined.height, joined.width, len(joined)) == (6, 8, 2)
    bits = joined.to_ndarray()
    assert bits[0].nonzero()[1].min() == 5 and bits[1].nonzero()[1].min() == 1
    assert bits.sum(axis=(1, 2)).tolist() == [4, 4]
    own = transform._cache[0]['gt_masks'].masks[0]
    assert not np.shares_memory(own[0] if kind == 'polygon' else own, joined.masks[1][0])


@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
@pytest.mark.parametrize('channels', [0, 1, 3])
def test_grey_and_colour_images_of_both_types_mix(dtype, channels):
    transform = Fixed()
    for number, (height, width) in ((100, (3, 7)), (200, (5, 4))):
        results = sample(number, height, width, channels=channels)
        results['img'] = results['img'].astype(dtype)
        results = transform.transform(results)
    assert results['img'].dtype == dtype and results['img'].shape[:2] == (5, 7)
    assert results['img'].reshape(5, 7, -1)[0, 0, 0] == pytest.approx(130)  # 0.3 x 200 + 0.7 x 100
    packed = PackWeightedDetInputs(meta_keys=('img_shape',)).transform(results)
    assert packed['inputs'].shape == (channels or 1, 5, 7)


@pytest.mark.parametrize('dtype, low, becomes', [
    (np.int64, 100, np.uint8),      # what mmdet's CopyPaste makes
    (np.int64, -1, np.float32), (np.int32, 301, np.float32), (np.uint16, 100, np.float32),
    (np.float64, 100, np.float32), (np.float16, 100, np.float32),
])
def test_images_of_other_number_types_mix_as_one_of_the_two(dtype, low, becomes):
    transform = Fixed()
    for number, grey in ((1, low), (2, 200)):
        results = sample(number, 3, 4)
        results['img'] = np.array([[low, grey], [grey, low]], dtype)
        results = transform.transform(results)
    assert results['img'].dtype == becomes
    exact = [[low, 0.3 * 200 + 0.7 * low], [0.3 * 200 + 0.7 * low, low]]
    allowed = 0.5 if becomes == np.uint8 else tolerance(2, 301, operations=1)
    assert np.abs(results['img'] - np.array(exact)).max() <= allowed


def test_only_samples_of_one_kind_are_mixed():
    transform = GeometryPreservingMixUp()
    transform.transform(sample(1))
    assert not mixed(transform.transform(sample(2, channels=0)))
    floats = sample(3)
    floats['img'] = floats['img'].astype(np.float32)
    assert not mixed(transform.transform(floats))
    plain = sample(4)
    plain['gt_bboxes'] = plain['gt_bboxes'].numpy()
    assert not mixed(transform.transform(plain))
    again = sample(6, boxes=2)
    again['gt_bboxes'] = again['gt_bboxes'].numpy()
    results = transform.transform(again)
    assert mixed(results) and results['gt_bboxes'].shape == (3, 4)


def test_images_without_boxes_mix_and_pack():
    transform = Fixed()
    transform.transform(sample(1, boxes=0))
    empty = transform.transform(sample(2, boxes=0))
    assert empty['gt_bboxes'].tensor.shape == (0, 4)
    assert empty['gt_mixup_weights'].shape == (0,) and empty['img'][0, 0, 0] == 1
    half = PackWeightedDetInputs(meta_keys=()).transform(transform.transform(sample(3)))
    assert half['data_samples'].gt_instances.mixup_weights.tolist() == pytest.approx([0.3])


def test_a_view_of_a_large_image_is_not_kept_alive_by_the_cache():
    transform = Fixed()
    results = sample(1)
    results['img'] = np.zeros((400, 400, 3), np.uint8)[:5, :8]
    transform.transform(results)
    transform.transform(sample(2))
    assert all(entry['img'].base is None or entry['img'].base.nbytes == 5 * 8 * 3
               for entry in transform._cache)


def test_switched_off_it_is_the_identity_and_forgets_its_cache():
    transform = Fixed()
    transform.transform(sample(1))
    transform.enabled = False
    own = sample(2, boxes=2)
    results = transform.transform(dict(own))
    assert results['img'] is own['img'] and len(transform._cache) == 0
    assert results['gt_mixup_weights'].tolist() == [1, 1]
    assert transform.get_indexes(range(3)) == []
    transform.enabled = True
    assert not mixed(transform.transform(sample(3))) and mixed(transform.transform(sample(4)))


def test_copies_obey_the_same_switch_and_pickles_keep_its_state():
    transform = GeometryPreservingMixUp(alpha=0.7)
    transform.transform(sample(1))
    twin = copy.deepcopy(transform)
    transform.enabled = False
    assert not twin.enabled and len(twin._cache) == 0 and len(transform._cache) == 1
    loaded = pickle.loads(pickle.dumps(transform))
    assert not loaded.enabled and loaded.alpha == 0.7 and len(loaded._cache) == 0
    assert loaded.shared._switch.is_shared() and loaded.shared._numbers.is_shared()
    assert repr(loaded) == repr(transform)


def test_a_partner_from_the_dataset_comes_in_mix_results():
    transform = GeometryPreservingMixUp(partner='dataset', cache_size=2)
    np.random.seed(0)
    drawn = {index for _ in range(60) for index in transform.get_indexes(range(4))}
    assert drawn == {0, 1, 2, 3}
    results = transform.transform(sample(9, mix_results=[sample(4, 9, 3, boxes=2)]))
    assert results['gt_bboxes_labels'].tolist() == [9, 4, 4] and results['img_shape'] == (9, 8)
    assert not mixed(transform.transform(sample(3, mix_results=[])))
    # brought by nobody, and the dataset unknown: an earlier sample serves
    assert transform.transform(sample(5))['gt_bboxes_labels'].tolist()[1:] in ([9], [3])


@pytest.mark.parametrize('wrong, words', [
    (dict(alpha=0), 'alpha must be > 0, got 0'), (dict(prob=0), r'prob must be in \(0, 1\], got 0'),
    (dict(prob=1.5), 'got 1.5'), (dict(cache_size=1), 'cache_size must be >= 2, got 1'),
    (dict(cache_mb=0), 'cache_mb must be > 0, got 0'),
    (dict(partner='both'), "partner must be 'cache' or 'dataset', got 'both'"),
    (dict(partner_shape='round'), "partner_shape must be 'any', or .*, got 'round'"),
    (dict(partner_shape='like', partner='dataset'), "got 'like' with partner='dataset'"),
])
def test_wrong_arguments_are_refused_with_the_rule_and_the_value(wrong, words):
    with pytest.raises(ValueError, match=words):
        GeometryPreservingMixUp(**wrong)


def test_samples_that_cannot_be_mixed_are_refused():
    bare = sample(1)
    del bare['gt_ignore_flags']
    with pytest.raises(ValueError, match='the sample lacks gt_ignore_flags, has gt_bboxes'):
        GeometryPreservingMixUp().transform(bare)
    for key, words in (('gt_seg_map', r'gt_seg_map: .* holds one class.*with_seg=False'),
                       ('gt_keypoints', r'gt_keypoints: .*with_keypoints=False')):
        with pytest.raises(ValueError, match=f'cannot mix samples that carry {words}'):
            GeometryPreservingMixUp().transform(sample(1, **{key: np.zeros((5, 8))}))


def test_stored_proposals_are_dropped_and_counted_while_it_is_on():
    transform = GeometryPreservingMixUp()
    for number in (1, 2):
        results = transform.transform(sample(number, proposals=np.zeros((3, 4), np.float32),
                                             proposals_scores=np.zeros(3, np.float32)))
        assert 'proposals' not in results and 'proposals_scores' not in results
    assert mixed(results) and transform.shared.total('dropped_proposals') == 2
    transform.enabled = False
    assert len(transform.transform(sample(3, proposals=np.zeros((3, 4))))['proposals']) == 3


def test_the_cache_is_bounded_in_samples_and_in_memory():
    transform = GeometryPreservingMixUp(cache_size=5)
    for number in range(9):
        transform.transform(sample(number))
    assert [entry['img_id'] for entry in transform._cache] == [4, 5, 6, 7, 8]
    # 5 x 8 x 3 bytes of image, 4 x 4 of box, 8 of label, 1 of flag, 4 of weight
    assert transform.shared.peak('sample_bytes') == 120 + 16 + 8 + 1 + 4
    assert transform.shared.peak('cache_bytes') == transform._cache.bytes == 5 * 149
    small = GeometryPreservingMixUp(cache_mb=350 / 2**20)
    for number in range(4):
        small.transform(sample(number))
    assert [entry['img_id'] for entry in small._cache] == [2, 3] and small._cache.fill == 1
    small.transform(sample(9, 50, 8))  # larger than the bound, and kept alone
    assert [entry['img_id'] for entry in small._cache] == [9]
    masks = BitmapMasks(np.zeros((1, 5, 8), np.uint8), 5, 8)
    transform.transform(sample(10, gt_masks=masks))
    assert transform.shared.peak('sample_bytes') == 149 + 40


def test_the_packing_splits_weights_as_it_splits_boxes():
    results = sample(1, boxes=3, gt_mixup_weights=np.array([0.3, 0.6, 0.7], np.float64))
    results['gt_ignore_flags'] = np.array([False, True, False])
    packed = TRANSFORMS.build(dict(type='tricks_plugin.PackWeightedDetInputs',
                                   meta_keys=('img_id',))).transform(results)['data_samples']
    kept = packed.gt_instances
    assert kept.mixup_weights.dtype == torch.float32
    assert kept.mixup_weights.tolist() == pytest.approx([0.3, 0.7])
    assert kept.bboxes.tensor[:, 0].tolist() == [0, 2]
    assert packed.ignored_instances.mixup_weights.tolist() == pytest.approx([0.6])
    assert packed.img_id == 1


def test_a_sample_without_weights_is_packed_with_ones():
    packed = PackWeightedDetInputs(meta_keys=()).transform(sample(1, boxes=2))
    assert packed['data_samples'].gt_instances.mixup_weights.tolist() == [1, 1]
    bare = PackWeightedDetInputs(meta_keys=()).transform(dict(img=sample(1)['img']))
    assert 'mixup_weights' not in bare['data_samples'].gt_instances


def test_boxes_dropped_without_their_weights_are_an_error_that_names_the_cause():
    results = sample(1, boxes=2, gt_mixup_weights=np.ones(3, np.float32))
    with pytest.raises(ValueError, match='got 3 for 2 boxes: a transform after Geometry.* put it'):
        PackWeightedDetInputs().transform(results)
