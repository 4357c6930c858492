"""What the proof of every head family shares: batches, probes of the weights, a training step."""

from __future__ import annotations

import contextlib
import logging
import math
import types

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmdet.utils import register_all_modules
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from tricks_plugin import MixUpWeightingHook

# Two images; the weights are the mixing ratio of the image that each box comes from.
BOXES = [[[6., 8., 50., 44.], [40., 30., 92., 60.], [10., 34., 38., 62.]], [[20., 10., 52., 58.]]]
LABELS = [[0, 1, 1], [0]]
WEIGHTS = [[0.3, 0.7, 0.7], [0.45]]
SHAPE = (64, 96)
# No loss of the tests has more terms: one per pixel of each box's mask.
TERMS = 4 * 64 * 96


def rounding(size, terms=TERMS):
    """How far apart two machines' float32 results of one sum may lie.

    Each addition is off by up to half an ulp, 2**-24 of what has been added up so far. The sign
    is chance, and the order is the processor's: so the error grows with the root of the number
    of terms. Four times that, for numbers that are differences of a few such sums.

    Args:
        size: Of the largest sum on the way, all terms taken as positive.
        terms: How many it has.
    """
    return 4 * 2 ** -24 * math.sqrt(terms) * abs(size)


def float32_sum(expected, size, rel=1e-4, terms=TERMS):
    """Like `pytest.approx`, with the tolerance of a number that float32 sums were made for."""
    return pytest.approx(expected, rel=rel, abs=rounding(size, terms))


def build(cfg, seed=5):
    """A module of mmdet's registry, initialised from a seed, in float32."""
    register_all_modules(init_default_scope=True)
    torch.manual_seed(seed)
    return MODELS.build(ConfigDict(cfg))


def instances(weights=None, boxes=BOXES, labels=LABELS, shape=SHAPE, masks=False):
    """Ground truth per image; without ``mixup_weights`` where ``weights`` is None."""
    batch = []
    for number, (rows, classes) in enumerate(zip(boxes, labels, strict=True)):
        item = InstanceData(bboxes=torch.tensor(rows).reshape(-1, 4),
                            labels=torch.tensor(classes, dtype=torch.long))
        if masks:
            item.masks = BitmapMasks(_ellipses(rows, shape), *shape)
        if weights is not None:
            item.mixup_weights = torch.tensor(weights[number], dtype=torch.float32)
        batch.append(item)
    return batch


def _ellipses(boxes, shape):
    y, x = np.mgrid[:shape[0], :shape[1]] + 0.5
    masks = [((x - (a + c) / 2) / (c - a)) ** 2 + ((y - (b + d) / 2) / (d - b)) ** 2 < 0.25
             for a, b, c, d in boxes]
    return np.array(masks, np.uint8).reshape(-1, *shape)


def samples(weights=None, shape=SHAPE, extras=None, **kwargs):
    """The same as data samples with the metainfo that heads read.

    Args:
        extras: Called for each sample, gives further fields, as ``dict(gt_sem_seg=...)``.
    """
    meta = dict(img_shape=shape, batch_input_shape=shape, pad_shape=shape, ori_shape=shape,
                scale_factor=(1.0, 1.0))
    return [DetDataSample(gt_instances=item, metainfo=meta, **(extras() if extras else {}))
            for item in instances(weights, shape=shape, **kwargs)]


@contextlib.contextmanager
def attached(*modules, transforms=()):
    """A `MixUpWeightingHook` on these modules, taken off at the end."""
    model = torch.nn.ModuleList(modules)
    runner = types.SimpleNamespace(
        model=model, logger=logging.getLogger('mixup-test'), train_dataloader=types.SimpleNamespace(
            dataset=types.SimpleNamespace(pipeline=list(transforms))))
    hook = MixUpWeightingHook()
    hook.before_train(runner)
    yield hook
    hook.after_train(runner)


def total(losses):
    """Each loss term of a dict as one float64 number; entries that are no losses left out."""
    return {name: float(sum(torch.as_tensor(term).double().sum() for term in
                            (value if isinstance(value, (list, tuple)) else [value])))
            for name, value in losses.items() if 'loss' in name}


def prove(modules, compute, weights=WEIGHTS, weighted=None, rel=1e-4):
    """Weights of 1 give upstream's losses; the losses are linear in the weights.

    Each box's part is the rise of a loss when this box's weight goes from 1 to 2, the background
    what is left of upstream's. No probe has a weight of 0, where some losses take shortcuts.

    Args:
        modules: What the hook is attached to.
        compute: ``compute(weights)`` gives the loss dict; the same draws at every call, and
            without ``mixup_weights`` for None.
        weights: The mix to check.
        weighted: Names of the losses in which every box must have a part; all by default.

    Returns:
        ``(background, parts)``: loss name to number, and the same per box in a list per image.
    """
    upstream = compute(None)
    plain = total(upstream)
    with attached(*modules) as hook:
        ones = [[1.0] * len(row) for row in weights]
        for name, value in compute(ones).items():
            for ours, theirs in zip(_flat(value), _flat(upstream[name]), strict=True):
                assert torch.equal(torch.as_tensor(ours), torch.as_tensor(theirs)), name
        assert hook.weighted_positives == 0
        parts = []
        for image, row in enumerate(weights):
            parts.append([])
            for box in range(len(row)):
                probe = [list(item) for item in ones]
                probe[image][box] = 2.0
                risen = total(compute(probe))
                parts[-1].append({name: risen[name] - plain[name] for name in plain})
        mixed = total(compute(weights))
        assert hook.weighted_positives > 0
    background = {}
    for name in plain:
        of_boxes = [part[name] for row in parts for part in row]
        background[name] = plain[name] - sum(of_boxes)
        want = background[name] + sum(weight * part[name] for row, line in zip(
            weights, parts, strict=True) for weight, part in zip(row, line, strict=True))
        assert mixed[name] == float32_sum(want, plain[name], rel), name
        if weighted is None or name in weighted:
            # A loss without a weight is computed by the same steps, and is the same to the bit.
            assert sum(part != 0 for part in of_boxes) > 1, f'{name} is not weighted'
    after = compute(weights)  # taken off again
    assert total(after) == plain
    return background, parts


def _flat(value):
    return list(value) if isinstance(value, (list, tuple)) else [value]


def finite_differences(compute, tensor, gradient, places, step=1e-3, rel=2e-2, absolute=1e-6,
                       single=True):
    """Compares a gradient with central differences at a few places of a tensor.

    Args:
        compute: Gives the scalar loss from the tensor's present content.
        tensor: Changed in place and put back.
        gradient: Of the scalar with respect to ``tensor``.
        places: Index tuples.
        single: Whether float32 is computed with inside. The two sides then are rounded, each by
            a few units of its own last place: most of their terms are the same ones.
    """
    for place in places:
        kept = tensor.data[place].clone()
        sides = []
        for sign in (1, -1):
            tensor.data[place] = kept + sign * step
            sides.append(float(compute()))
        tensor.data[place] = kept
        slope = (sides[0] - sides[1]) / (2 * step)
        noise = rounding(max(map(abs, sides)), terms=4) / step if single else 0.0
        assert float(gradient[place]) == pytest.approx(slope, rel=rel, abs=absolute + noise), place


def training_step(cfg, heads, weights=WEIGHTS, seed=3, shape=SHAPE, init=False, **kwargs):
    """One step of SGD of a real detector on weighted samples, through its ``loss``.

    Args:
        cfg: The detector's model section.
        heads: Names that the hook must report as weighted, as ``bbox_head (FCOSHead)``.
        init: Whether to call ``init_weights``, which some models need to work at all.

    Returns:
        The detector, after the step.
    """
    model = build(cfg, seed)
    if init:
        model.init_weights()
    model.train()
    torch.manual_seed(seed)
    data = dict(inputs=[torch.randint(0, 256, (3, *shape), dtype=torch.uint8) for _ in range(2)],
                data_samples=samples(weights, shape=shape, **kwargs))
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    with attached(model) as hook:
        assert {name.removeprefix('0.') for name in hook.weighted_heads} >= set(heads)
        losses = model(**model.data_preprocessor(data, True), mode='loss')
        loss, _ = model.parse_losses(losses)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        loss.backward()
        optimizer.step()
        assert torch.isfinite(loss)
        assert hook.weighted_positives > 0
    assert any(not torch.equal(before[name], value) for name, value in model.named_parameters())
    return model
