"""Losses of the AnchorHead family in NumPy and float64, row by row, from their formulas."""

from __future__ import annotations

import numpy as np
import pytest
from support.weighting.anchor_zoo import STRIDES, loss
from support.weighting.kit import BOXES, attached, total

WEIGHTS = [[0.3, 0.7, 0.85], [0.45]]  # all unlike, so that no mistaken box goes unseen
FLAT = [(image, box) for image, rows in enumerate(BOXES) for box in range(len(rows))]


def array(tensor):
    return tensor.detach().double().numpy()


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def bce(score, target):
    return np.logaddexp(0, score) - score * target


def one_hot(labels, classes):
    return (labels[:, None] == np.arange(classes)).astype(float)


def focal(score, labels):
    """A row's focal loss, gamma 2 and alpha 1/4: arXiv 1708.02002 equation 5."""
    hit = one_hot(labels, score.shape[1])
    p = np.where(hit == 1, sigmoid(score), sigmoid(-score))
    return (-np.where(hit == 1, 0.25, 0.75) * (1 - p) ** 2 * np.log(p))


def softmax_loss(score, labels):
    top = score.max(1, keepdims=True)
    log_sum = top[:, 0] + np.log(np.exp(score - top).sum(1))
    return log_sum - score[np.arange(len(labels)), labels]


def smooth_l1(pred, target, beta):
    d = np.abs(pred - target)
    return np.where(d < beta, d * d / (2 * beta), d - beta / 2)


def overlap(a, b):
    """``(iou, hull, union)`` of boxes row by row."""
    size = np.maximum(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0)
    common = size.prod(1)
    union = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - common
    hull = (np.maximum(a[:, 2:], b[:, 2:]) - np.minimum(a[:, :2], b[:, :2])).prod(1)
    return common / union, hull, union


def giou_loss(a, b):
    iou, hull, union = overlap(a, b)
    return 1 - iou + (hull - union) / hull


def bounded_iou_loss(a, b, beta=0.2):
    """Sum over the four coordinates, arXiv 1711.00164 equation 6."""
    parts = []
    for low, high in ((0, 2), (1, 3)):
        size_a, size_b = a[:, high] - a[:, low], b[:, high] - b[:, low]
        shift = 2 * np.abs(a[:, high] + a[:, low] - b[:, high] - b[:, low]) / 2
        parts.append(1 - np.maximum((size_b - shift) / (size_b + shift + 1e-3), 0))
        parts.append(1 - np.minimum(size_b / (size_a + 1e-3), size_a / (size_b + 1e-3)))
    x = np.stack(parts, 1)
    return np.where(x < beta, x * x / (2 * beta), x - beta / 2)


def ghmc(score, labels, weight, row, bins=6, momentum=0.75):
    """arXiv 1811.05181 equation 9, from an empty moving average."""
    hit = one_hot(labels, score.shape[1])
    valid = np.repeat(weight[:, None] > 0, score.shape[1], 1)
    place = np.minimum((np.abs(sigmoid(score) - hit) * bins).astype(int), bins - 1)
    counts = np.bincount(place[valid], minlength=bins) * (1 - momentum)
    each = (bce(score, hit) * row[:, None] / np.maximum(counts, 1e-9)[place])[valid].sum()
    return each / (counts > 0).sum()


def ghmr(pred, target, weight, row, bins=4, momentum=0.7, mu=0.02):
    d = pred - target
    valid = weight > 0
    place = np.minimum((np.abs(d) / np.sqrt(mu * mu + d * d) * bins).astype(int), bins - 1)
    counts = np.bincount(place[valid], minlength=bins) * (1 - momentum)
    each = (np.sqrt(d * d + mu * mu) - mu) * row[:, None] / np.maximum(counts, 1e-9)[place]
    return 10 * each[valid].sum() / max((counts > 0).sum(), 1)


def balanced(pred, target, alpha=0.5, gamma=1.5, beta=0.11):
    """arXiv 1904.02701 equation 9."""
    d, b = np.abs(pred - target), np.expm1(gamma / alpha)
    near = alpha / b * (b * d + 1) * np.log(b * d / beta + 1) - alpha * d
    return np.where(d < beta, near, gamma * d + gamma / b - alpha * beta)


def masked(formula, pred, target, weight, row):
    """Sum over the rows whose weight is above 0."""
    rows = weight > 0
    return (formula(pred[rows], target[rows]) * weight[rows] * row[rows]).sum()


class Spy:
    """What an unweighted twin passes to its losses or methods, call by call."""

    def __init__(self, head, name, inputs, *names):
        self.calls = {key: [] for key in names}
        undo = []
        for key in names:
            part = getattr(head, key)
            if hasattr(part, 'register_forward_pre_hook'):
                undo.append(part.register_forward_pre_hook(self._hook(key), with_kwargs=True))
            else:
                head.__dict__[key] = self._method(key, part)
        self.losses = loss(head, name, inputs)
        for handle in undo:
            handle.remove()
        for key in names:
            head.__dict__.pop(key, None)

    def _hook(self, key):
        def note(module, args, kwargs):
            self.calls[key].append(self._note(args, kwargs))
        return note

    def _method(self, key, method):
        def call(*args, **kwargs):
            self.calls[key].append(self._note(args, kwargs))
            return method(*args, **kwargs)
        return call

    @staticmethod
    def _note(args, kwargs):
        names = ('pred', 'target', 'weight')
        rows = [item.detach().clone() if hasattr(item, 'detach') else item for item in args]
        return dict(zip(names, rows, strict=False), rows=rows,
                    **{key: kwargs[key] for key in kwargs if key not in names},
                    **({'weight': kwargs['weight']} if 'weight' in kwargs else {}))


def nearest(boxes, image=None):
    """Each row's box as ``(image, box)``: the ground truth it is equal to, but for rounding."""
    places = [place for place in FLAT if image is None or place[0] == image]
    truth = np.array([BOXES[i][b] for i, b in places])
    distance = np.abs(boxes[:, None] - truth).max(2)
    assert (distance.min(1) < 1e-2).all()
    return [places[number] for number in distance.argmin(1)]


def factors(rows, positive, boxes, image_of):
    """Each row's weight: its box's where positive, 1 elsewhere."""
    weights = np.ones(rows)
    for row in np.flatnonzero(positive):
        image, box = nearest(boxes[row:row + 1], image_of(row))[0]
        weights[row] = WEIGHTS[image][box]
    return weights


def anchors_of(head, level):
    stride = STRIDES[level]
    maps = head.prior_generator.grid_priors([(64 // s, 96 // s) for s in STRIDES], device='cpu')
    assert len(maps[level]) % (64 * 96 // stride ** 2) == 0
    return maps[level]


def rows_of_level(head, level, regression, decoded):
    """Row factors of a level, the boxes read back from its own regression targets."""
    target, positive = regression['target'], array(regression['weight'])[:, 0] > 0
    anchors = anchors_of(head, level)
    images = len(target) // len(anchors)
    boxes = target if decoded else head.bbox_coder.decode(anchors.repeat(images, 1), target)
    return factors(len(target), positive, array(boxes), lambda row: row // len(anchors)), positive


def check(name, head, inputs, want, background=()):
    """Compares the weighted losses with the hand's, and sees that the weights matter."""
    plain = total(loss(head, name, inputs))
    with attached(head):
        got = total(loss(head, name, inputs, WEIGHTS))
    assert got.keys() == want.keys() | set(background)
    for key in want:
        assert got[key] == pytest.approx(want[key], rel=1e-4), key
        assert want[key] < 0.999 * plain[key], key
    for key in background:
        assert got[key] == plain[key]
