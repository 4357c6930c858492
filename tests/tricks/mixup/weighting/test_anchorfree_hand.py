"""Each box's part of every anchor-free loss against a sum made by hand."""

from __future__ import annotations

import mmcv
import numpy as np
import pytest
from support.weighting import anchorfree_by_hand as hand
from support.weighting import anchorfree_cases as cases
from support.weighting import anchorfree_masks_by_hand as by_masks
from support.weighting import kit

pytestmark = pytest.mark.slow


@pytest.mark.parametrize('name', sorted(by_masks.FAMILIES))
def test_the_positive_part_is_the_sum_of_each_box_s_terms_times_its_weight(name):
    parts = by_masks.FAMILIES[name](name)
    upstream = kit.total(cases.losses(name, None))
    with kit.attached(*cases.heads(name)):
        mixed = kit.total(cases.losses(name, kit.WEIGHTS))
    weights = [weight for row in kit.WEIGHTS for weight in row]
    for loss, whole in upstream.items():
        terms = parts.get(loss, [0.0] * len(weights))
        background = whole - sum(terms)
        want = background + sum(w * term for w, term in zip(weights, terms, strict=True))
        assert mixed[loss] == kit.float32_sum(want, whole), loss
        # What the weights take away is the boxes' own, to a part in a thousand of it.
        assert whole - mixed[loss] == kit.float32_sum(whole - want, whole, rel=1e-3), loss
        assert background > -kit.rounding(whole), loss
    assert set(parts) == set(upstream) - {'loss_neg', 'push_loss'}


def test_where_two_boxes_own_a_cell_solov2_weighs_both_masks_and_the_later_one_s_class():
    name, weights = 'SOLOV2Head', [0.3, 0.7, 0.45]
    kwargs = dict(boxes=[[[6., 8., 50., 44.], [9., 12., 53., 46.]], [[20., 10., 52., 58.]]],
                  labels=[[0, 1], [0]])
    head = cases.heads(name)[0]
    with hand.spied(head, 'loss_mask', 'loss_cls') as calls:
        upstream = kit.total(cases.losses(name, None, **kwargs))
    owner = np.concatenate([
        by_masks.mask_owners(target, lambda mask: mmcv.imrescale(mask, scale=0.25), **kwargs)
        for _, target, *_ in calls['loss_mask']])
    (scores, labels, _, avg), = calls['loss_cls']
    terms = np.concatenate([3 * by_masks.dice(hand.sigmoid(pred), target, 1e-3)
                            for pred, target, *_ in calls['loss_mask']])
    cells = _cells_of_each_box(head, kwargs)
    cell_owner, claims = cells.max(0) - 1, (cells > 0).sum(0)
    assert (claims == 2).any() and ((labels < 3) == (cell_owner >= 0)).all()
    # Upstream's number of positives is that of the cells, not of the masks.
    assert avg - 1 == (labels < 3).sum() < len(terms)
    masks = hand.per_box(terms / (avg - 1), owner)[:3]
    classes = hand.per_box(1.5 * hand.focal(scores, labels) / (avg + hand.EPS), cell_owner)[:3]
    with kit.attached(head):
        mixed = kit.total(cases.losses(name, [weights[:2], weights[2:]], **kwargs))
    for loss, parts in (('loss_mask', masks), ('loss_cls', classes)):
        fall = sum((1 - weight) * part for weight, part in zip(weights, parts, strict=True))
        assert upstream[loss] - mixed[loss] == kit.float32_sum(fall, upstream[loss], rel=1e-3), loss


def _cells_of_each_box(head, kwargs):
    """Number from 1 of each box at the cells it owns alone, ``(boxes, cells)``, else 0."""
    rows, number = [], 0
    for image, item in enumerate(kit.instances(masks=True, **kwargs)):
        for box in range(len(item)):
            number += 1
            levels = head._get_targets_single(item[[box]], featmap_sizes=(16, 24))[1]
            row = []
            for level in levels:
                grids = [np.zeros(level.numel()), np.zeros(level.numel())]
                grids[image] = number * (level.numpy().ravel() < 3)
                row += grids
            rows.append(np.concatenate(row))
    return np.array(rows, int)


@pytest.mark.parametrize('name', ['CenterNetHead', 'CornerHead'])
def test_a_pixel_that_two_boxes_share_has_the_later_one_s_weight(name):
    kwargs = dict(boxes=[[[6., 8., 50., 44.], [7., 9., 51., 45.]], [[20., 10., 52., 58.]]],
                  labels=[[1, 1], [0]])
    head = cases.heads(name)[0]
    with kit.attached(head):
        first, later, other = (
            kit.total(cases.losses(name, weights, **kwargs))
            for weights in ([[0.2, 1.0], [1.0]], [[1.0, 0.2], [1.0]], [[1.0, 1.0], [0.2]]))
    plain = kit.total(cases.losses(name, None, **kwargs))
    for loss in set(plain) - {'pull_loss', 'push_loss'}:
        assert first[loss] == plain[loss] and later[loss] < plain[loss] > other[loss], loss
