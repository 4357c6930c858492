"""What a sample carries beside the known: joined, blended, left alone, or refused by name."""

from __future__ import annotations

import dataclasses
import random
import types

import numpy as np
import pytest
import torch
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.structures import InstanceData
from support.mixing import Fixed, mix, sample
from torch.utils.data import Dataset

from tricks_plugin import GeometryPreservingMixUp
from tricks_plugin.plan.errors import TrickError
from tricks_plugin.tricks.mixup.extras import Extras

pytestmark = pytest.mark.slow

FORMS = [np.array, torch.tensor, list, tuple, lambda v: InstanceData(height=torch.tensor(v)),
         lambda v: {'height': list(v)}]


@pytest.mark.parametrize('form', FORMS)
def test_values_per_box_are_joined_in_their_form(form):
    results = mix(sample(1, boxes=2, heights=form([1.0, 2.0])),
                  sample(2, boxes=3, heights=form([3.0, 4.0, 5.0])), per_box=['heights'])
    joined = results['heights']
    assert type(joined) is type(form([1.0]))
    values = joined['height'] if isinstance(joined, dict) else getattr(joined, 'height', joined)
    assert [float(value) for value in values] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert len(results['gt_bboxes']) == 5


@pytest.mark.parametrize('form', FORMS)
def test_what_has_one_entry_per_box_and_is_not_declared_is_refused(form):
    name = 'heights.height' if isinstance(form([1.0]), dict) else 'heights'
    words = (rf"^tricks.mixup: {name} has one entry per box \(2\), and it is not known how to mix "
             rf"it; tricks.mixup.per_box=\['{name}'\] joins it with the partner's, .*; "
             rf"tricks.mixup.ignore=\['{name}'\] leaves")
    sides = [sample(1, boxes=2, heights=form([1.0, 2.0])), sample(2, boxes=1, heights=form([3.0]))]
    with pytest.raises(TrickError, match=words):
        Fixed().transform(dict(sides[0]))
    assert mix(*sides, ignore=[name])['heights'] is sides[0]['heights']


def test_one_value_of_a_dict_is_joined_by_its_name_and_the_others_stay():
    sides = [sample(1, boxes=2, more={'age': [1, 2], 'deep': {'x': np.array([5, 6])}, 'gain': 1.0}),
             sample(2, boxes=1, more={'age': [3], 'deep': {'x': np.array([7])}, 'gain': 2.0})]
    first = sides[0]['more']
    with pytest.raises(TrickError, match='more.age, more.deep.x have one entry per box'):
        Fixed().transform(dict(sides[0]))
    with pytest.raises(TrickError, match='more.deep.x has one entry per box'):
        Fixed(per_box=['more.age']).transform(dict(sides[0]))
    mixed = mix(*sides, per_box=['more.age', 'more.deep.x'])['more']
    assert mixed['age'] == [1, 2, 3] and mixed['deep']['x'].tolist() == [5, 6, 7]
    assert mixed['gain'] == 1.0
    assert first['age'] == [1, 2] and first['deep']['x'].tolist() == [5, 6]  # not written to


def test_all_that_nobody_has_declared_is_named_at_once():
    with pytest.raises(TrickError, match=r'heights, ages have one entry per box \(2\), .* them; '
                       r"tricks.mixup.per_box=\['heights', 'ages'\] joins them"):
        Fixed().transform(sample(1, boxes=2, heights=[1, 2], ages=(3, 4)))


@dataclasses.dataclass
class Own:
    """A user's own object."""

    heights: list


@pytest.mark.parametrize('value', [
    Own([1, 2]), types.SimpleNamespace(heights=(1, 2)), [np.zeros(2), np.zeros(2), np.zeros(2)],
    ['a', 'b']])
def test_values_per_box_are_found_in_objects_and_lists(value):
    with pytest.raises(TrickError, match=r'heights has one entry per box \(2\)'):
        Fixed().transform(sample(1, boxes=2, heights=value))


def bitmaps(count, height, width, kind):
    """Masks that are 1 all over, in a form."""
    masks = np.ones((count, height, width), np.uint8)
    return BitmapMasks(masks, height, width) if kind is BitmapMasks else kind(masks)


@pytest.mark.parametrize('kind', [BitmapMasks, np.array, torch.tensor, list])
@pytest.mark.parametrize('counts', [(2, 1), (2, 0), (0, 1)])
def test_maps_per_box_are_joined_on_the_canvas(kind, counts):
    sides = [sample(number, *shape, boxes=count, visible=bitmaps(count, *shape, kind))
             for number, shape, count in zip((1, 2), ((5, 8), (7, 6)), counts, strict=True)]
    joined = mix(*sides, per_box=['visible'])['visible']
    assert type(joined) is type(sides[0]['visible'])
    masks = np.array(getattr(joined, 'masks', joined))
    assert masks.shape == (sum(counts), 7, 8)
    assert [(mask[:5, :8].sum(), mask.sum()) for mask in masks] == \
        [(40, 40)] * counts[0] + [(30, 42)] * counts[1]  # 5 x 8 whole; 5 x 6 of 7 x 6


def test_polygons_per_box_lie_on_the_canvas():
    triangle = [np.array([0.0, 0, 3, 0, 3, 3])]
    joined = mix(sample(1, 5, 8, visible=PolygonMasks([triangle], 5, 8)),
                 sample(2, 7, 6, visible=PolygonMasks([triangle], 7, 6)),
                 per_box=['visible'])['visible']
    assert (len(joined), joined.height, joined.width) == (2, 7, 8)


def test_one_map_per_box_that_is_not_declared_is_refused_with_both_rules():
    with pytest.raises(TrickError, match=r"tricks.mixup.images=\['visible'\] .*ignore.*"
                       r"tricks.mixup.per_box=\['visible'\] joins it, one map per box$"):
        Fixed().transform(sample(1, boxes=2, visible=np.ones((2, 5, 8))))


def test_keypoints_are_joined_where_a_user_s_packing_takes_them():
    sides = [sample(1, gt_keypoints=np.full((1, 4, 3), 1.0)),
             sample(2, boxes=2, gt_keypoints=np.full((2, 4, 3), 2.0))]
    with pytest.raises(ValueError, match=r"gt_keypoints: .*per_box=\['gt_keypoints'\] joins them"):
        mix(*sides)
    mixed = mix(*sides, per_box=['gt_keypoints'])['gt_keypoints']
    assert mixed[:, 0, 0].tolist() == [1, 2, 2]


def test_a_semantic_map_stays_the_first_image_s_where_it_is_declared():
    sides = [sample(1, gt_seg_map=np.ones((5, 8))), sample(2, gt_seg_map=np.zeros((5, 8)))]
    with pytest.raises(ValueError, match=r"ignore=\['gt_seg_map'\] keeps the first image's"):
        mix(*sides, images=['gt_seg_map'])
    assert mix(*sides, ignore=['gt_seg_map'])['gt_seg_map'] is sides[0]['gt_seg_map']


@pytest.mark.parametrize('counts', [(0, 2), (2, 0), (0, 0)])
def test_an_image_without_boxes_joins_nothing(counts):
    sides = [sample(number, boxes=count, heights=np.arange(count, dtype=float))
             for number, count in enumerate(counts, 1)]
    results = mix(*sides, per_box=['heights'])
    assert results['heights'].tolist() == [0.0, 1.0][:sum(counts)]


def test_an_image_without_boxes_may_lack_the_value():
    results = mix(sample(1, boxes=0), sample(2, boxes=2, heights=[7, 8]), per_box=['heights'])
    assert results['heights'] == [7, 8]
    with pytest.raises(TrickError, match='heights is missing in one of two samples with boxes'):
        mix(sample(1, boxes=1), sample(2, boxes=2, heights=[7, 8]), per_box=['heights'])


def test_the_entries_of_a_declared_value_are_counted():
    with pytest.raises(TrickError, match='heights must have one entry for each of the 2 boxes, '
                       'got 3'):
        Fixed(per_box=['heights']).transform(sample(1, boxes=2, heights=[1, 2, 3]))


def test_what_differs_from_the_boxes_once_is_one_image_s_for_good():
    transform = Fixed()
    transform.transform(sample(1, boxes=3, weather=[1, 0], camera='abc', exposure=2.0))
    results = transform.transform(sample(2, boxes=2, weather=[0, 1], camera='ab', exposure=3.0))
    assert results['weather'] == [0, 1] and results['camera'] == 'ab'


def test_meta_of_one_image_is_known_whatever_its_length():
    transform = Fixed()
    transform.transform(sample(1, boxes=2, ori_shape=(5, 8), scale_factor=(1.0, 1.0),
                               border=np.zeros(4), flip_direction='xy', idx_mapper=np.arange(2)))


def test_the_cache_keeps_copies_of_what_is_declared():
    transform = Fixed(per_box=['heights'])
    heights = np.ones(1)
    transform.transform(sample(1, heights=heights))
    heights[:] = 9
    assert transform.transform(sample(2, heights=np.zeros(1)))['heights'].tolist() == [0, 1]


class Tail(Dataset):
    """Samples with a value per box, whose numbers of boxes are given; the draws are counted."""

    def __init__(self, counts, **declared):
        self.counts = counts
        self.transform = GeometryPreservingMixUp(**declared)
        self.pipeline = types.SimpleNamespace(transforms=[self.transform])

    def __len__(self):
        return len(self.counts)

    def __getitem__(self, index):
        np.random.rand(), torch.rand(1), random.random()
        count = self.counts[index]
        results = sample(index, boxes=count, heights=[0] * count, pair=[1, 2])
        return self.pipeline.transforms[0].transform(results)


def test_samples_are_tried_before_the_training_and_change_nothing():
    dataset = Tail([2, 0, 3, 2])
    np.random.seed(3), torch.manual_seed(3), random.seed(3)
    wanted = np.random.rand(), float(torch.rand(1)), random.random()
    np.random.seed(3), torch.manual_seed(3), random.seed(3)
    pipeline = dataset.pipeline
    with pytest.raises(TrickError, match='^tricks.mixup: heights has one entry per box'):
        dataset.transform.try_samples(dataset)
    assert (np.random.rand(), float(torch.rand(1)), random.random()) == wanted
    assert dataset.pipeline is pipeline and len(dataset.transform._cache) == 0
    assert dataset.transform.extras.harmless == {'pair'}


@pytest.mark.parametrize(('counts', 'key'), [([2, 2, 2], 'heights'), ([2], 'heights')])
def test_numbers_that_are_equal_by_chance_or_not_are_not_guessed(counts, key):
    dataset = Tail(counts, per_box=['heights'])
    with pytest.raises(TrickError, match='^tricks.mixup: pair has one entry per box'):
        dataset.transform.try_samples(dataset)
    dataset = Tail(counts, per_box=[key], ignore=['pair'])
    dataset.transform.try_samples(dataset)


def test_nothing_is_tried_where_the_transform_is_off_or_not_to_be_found():
    dataset = Tail([2, 3])
    dataset.transform.enabled = False
    dataset.transform.try_samples(dataset)
    GeometryPreservingMixUp().try_samples(Tail([1]))


def test_known_values_per_box_of_mmdet_are_joined_unasked():
    results = mix(sample(1, gt_instances_ids=np.array([4])),
                  sample(2, boxes=2, gt_instances_ids=np.array([5, 6])))
    assert results['gt_instances_ids'].tolist() == [4, 5, 6]
    assert Extras().joined == ('gt_instances_ids',)


def test_the_classes_that_a_sample_names_are_not_one_per_box():
    """A data set with `return_classes` gives them, here as many as the sample has boxes."""
    names = ('cat', 'dog')
    first = sample(1, boxes=2, text=names, custom_entities=True, caption_prompt=None)
    mixed = mix(first, sample(2, boxes=1, text=names, custom_entities=True, caption_prompt=None))
    assert mixed['text'] is names and len(mixed['gt_bboxes']) == 3
    for mark in ({}, {'custom_entities': False}):  # a text of each box, as for all else
        with pytest.raises(TrickError, match='^tricks.mixup: text has one entry per box'):
            Fixed().transform(sample(1, boxes=2, text=names, **mark))
