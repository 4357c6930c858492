"""YOLOv3's losses under weights, against sums made by hand from upstream's targets."""

from __future__ import annotations

import copy
import io
import logging
import types

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.utils import register_all_modules
from mmengine.structures import InstanceData

from tricks_plugin import GeometryPreservingMixUp, MixUpWeightingHook

LOSSES = ('loss_cls', 'loss_conf', 'loss_xy', 'loss_wh')
# Box A (label 0) and box B (label 1) of the first image; another A in the second one.
BOXES = [[[6., 8., 50., 44.], [40., 30., 92., 60.]], [[20., 10., 52., 62.]], []]
LABELS = [[0, 1], [0], []]
# The sums are in float64; shares and targets in float32, each off by half of its last bit at most.
SHARE = 4 * 2 ** -24


@pytest.fixture()
def model(yolov3):
    register_all_modules(init_default_scope=True)
    torch.manual_seed(5)
    return MODELS.build(yolov3)


def samples(weights=None):
    batch = []
    for number, (boxes, labels) in enumerate(zip(BOXES, LABELS, strict=True)):
        instances = InstanceData(bboxes=torch.tensor(boxes).reshape(-1, 4),
                                 labels=torch.tensor(labels, dtype=torch.long))
        if weights is not None:
            instances.mixup_weights = torch.tensor(weights[number])
        batch.append(DetDataSample(gt_instances=instances, metainfo=dict(
            img_shape=(64, 96), batch_input_shape=(64, 96), pad_shape=(64, 96))))
    return batch


def runner(model, transforms=()):
    dataset = types.SimpleNamespace(pipeline=list(transforms))
    return types.SimpleNamespace(
        model=model, logger=logging.getLogger('mixup-test'),
        train_dataloader=types.SimpleNamespace(dataset=dataset))


def installed(model, *transforms):
    hook = MixUpWeightingHook()
    hook.before_train(runner(model, transforms))
    return hook


def head_loss(head, features, batch):
    return {name: torch.stack(terms) for name, terms in head.loss(features, batch).items()}


def features(seed=0, dtype=torch.float32):
    torch.manual_seed(seed)
    return [torch.randn(3, 32, 64 // s, 96 // s, dtype=dtype, requires_grad=True)
            for s in (32, 16, 8)]


def softplus(x):
    return np.logaddexp(0, x)


def targets(head):
    """Upstream's target and negative maps per level, from a head without weighting."""
    instances = [sample.gt_instances for sample in samples()]
    sizes = [(2, 3), (4, 6), (8, 12)]
    anchors = head.prior_generator.grid_priors(sizes, device='cpu')
    flags = [head.responsible_flags(sizes, item.bboxes, 'cpu') for item in instances]
    return head.get_targets([anchors] * 3, flags, instances)


def by_hand(predictions, head, weight_of):
    """The four losses, element by element in float64.

    A positive's box is known by its class target (A has label 0, B label 1), a negative by the
    negative map; no sampler, cursor or element map is involved.
    """
    sums = dict.fromkeys(LOSSES, 0.0)
    for prediction, target, negative in zip(predictions, *targets(head), strict=True):
        flat = prediction.transpose(0, 2, 3, 1).reshape(3, -1, 7)
        target, negative = target.double().numpy(), negative.numpy()
        for image in range(3):
            for place in range(flat.shape[1]):
                p, t = flat[image, place], target[image, place]
                if t[4] == 1:
                    w = weight_of[image][int(t[5:].argmax())]
                    sums['loss_cls'] += w * (softplus(p[5:]) - p[5:] * t[5:]).sum()
                    sums['loss_conf'] += w * softplus(-p[4])
                    sums['loss_xy'] += 2 * w * (softplus(p[:2]) - p[:2] * t[:2]).sum()
                    sums['loss_wh'] += 2 * w * ((p[2:4] - t[2:4]) ** 2).sum()
                elif negative[image, place]:
                    sums['loss_conf'] += softplus(p[4])
    return sums


WEIGHTS = [[0.3, 0.7], [0.45], []]
SHARES = [{0: 0.3, 1: 0.7}, {0: 0.45}, {}]


def predict(head, inputs):
    return [level.detach().double().numpy() for level in head(inputs)[0]]


def test_every_positive_term_is_multiplied_by_its_box_s_weight_and_background_is_not(model):
    head, inputs = model.bbox_head.double(), features(dtype=torch.float64)
    want = by_hand(predict(head, inputs), head, SHARES)
    ones = by_hand(predict(head, inputs), head, [{0: 1.0, 1: 1.0}] * 3)
    hook = installed(model)
    got = head_loss(head, inputs, samples(WEIGHTS))
    for name in LOSSES:
        assert got[name].sum().item() == pytest.approx(want[name], rel=SHARE), name
        assert want[name] < 0.999 * ones[name], 'the weights make no difference here'
    # upstream's own positives: every element whose target has objectness 1
    positives = sum(int(target[..., 4].sum()) for target in targets(model.bbox_head)[0])
    assert hook.weighted_positives == positives > 3


def test_the_weighted_loss_is_background_plus_each_box_s_part_by_its_share(model):
    """Loss(w) is linear in the weights: background + w_A A + w_B B + w_C C, by three probes."""
    head, inputs = model.bbox_head.double(), features(1, torch.float64)
    upstream = head_loss(head, inputs, samples())
    installed(model)

    def total(a, b, c):
        return {name: float(terms.sum().detach())
                for name, terms in head_loss(head, inputs, samples([[a, b], [c], []])).items()}

    none, first, second, third = (total(0., 0., 0.), total(1., 0., 0.), total(0., 1., 0.),
                                  total(0., 0., 1.))
    mix = total(0.3, 0.7, 0.3)
    for name in LOSSES:
        a, b, c = (one[name] - none[name] for one in (first, second, third))
        assert mix[name] == pytest.approx(
            none[name] + 0.3 * a + 0.7 * b + 0.3 * c, rel=SHARE)
        assert upstream[name].sum().item() == pytest.approx(none[name] + a + b + c, rel=SHARE)
        if name != 'loss_conf':
            assert none[name] == 0 and min(a, b, c) > 0


@pytest.mark.parametrize('weights', [[[1., 1.], [1.], []], None])
def test_with_weights_of_one_or_none_losses_and_gradients_equal_upstream_to_the_bit(
        model, weights):
    results = []
    for weighted in (False, True):
        if weighted:
            installed(model)
        inputs = features(2)
        losses = head_loss(model.bbox_head, inputs, samples(weights))
        sum(terms.sum() for terms in losses.values()).backward()
        results.append((losses, [level.grad for level in inputs]))
    for name in LOSSES:
        assert torch.equal(results[0][0][name], results[1][0][name])
    assert all(torch.equal(a, b) for a, b in zip(results[0][1], results[1][1], strict=True))


def test_the_gradient_is_that_of_the_sum_made_by_hand(model):
    head = model.bbox_head
    maps = [level.detach().requires_grad_() for level in head(features(3))[0]]
    level, place = next((number, int(target[0, :, 4].argmax()))
                        for number, target in enumerate(targets(head)[0]) if target[0, :, 4].any())
    installed(model)
    batch = samples(WEIGHTS)
    losses = head.loss_by_feat(maps, [item.gt_instances for item in batch],
                               [item.metainfo for item in batch])
    sum(term for terms in losses.values() for term in terms).backward()
    cell, anchor = divmod(place, 3)
    step = 1e-4
    for channel in range(7):
        index = (0, anchor * 7 + channel, *divmod(cell, maps[level].shape[3]))
        sides = []
        for sign in (1, -1):
            moved = [item.detach().double().numpy() for item in maps]
            moved[level][index] += sign * step
            sides.append(sum(by_hand(moved, head, SHARES).values()))
        assert float(maps[level].grad[index]) == pytest.approx(
            (sides[0] - sides[1]) / (2 * step), rel=1e-3, abs=1e-5)


def test_state_dict_sampler_and_hooks_are_as_before_once_it_is_removed(model):
    head = model.bbox_head
    keys = list(model.state_dict())
    hook = installed(model)
    assert list(model.state_dict()) == keys
    assert 'sample' in vars(head.sampler) and 'loss_by_feat' in vars(head)
    hook.before_train(runner(model))  # a second training does not attach twice
    head_loss(head, features(), samples(WEIGHTS))
    positives = sum(int(target[..., 4].sum()) for target in targets(head)[0])
    assert hook.weighted_positives == positives
    hook.after_train(runner(model))
    assert 'sample' not in vars(head.sampler) and 'loss_by_feat' not in vars(head)
    assert hook.weighted_positives == positives
    assert not any(len(m._forward_pre_hooks) for m in model.modules())


def test_a_copy_of_the_model_weights_its_own_losses(model):
    installed(model, GeometryPreservingMixUp())
    twin = copy.deepcopy(model)
    inputs = features(4)
    want = head_loss(model.bbox_head, inputs, samples(WEIGHTS))
    got = head_loss(twin.bbox_head, inputs, samples(WEIGHTS))
    assert all(torch.equal(want[name], got[name]) for name in LOSSES)
    adapter = vars(twin.bbox_head)['loss_by_feat'].around.__self__
    assert adapter.head is twin.bbox_head
    assert adapter is not vars(model.bbox_head)['loss_by_feat'].around.__self__
    stream = io.BytesIO()
    torch.save(model, stream)


def test_batches_follow_each_other_and_survive_one_that_failed(model):
    head = model.bbox_head
    installed(model)
    first = head_loss(head, features(), samples(WEIGHTS))
    broken = samples(WEIGHTS)
    broken[1].gt_instances.pop('labels')
    with pytest.raises(AttributeError):
        head.loss(features(), broken)
    again = head_loss(head, features(), samples(WEIGHTS))
    assert all(torch.equal(first[name], again[name]) for name in LOSSES)


def test_samples_without_weights_are_refused_while_mixup_is_on(model):
    transform = GeometryPreservingMixUp()
    installed(model, transform)
    with pytest.raises(ValueError, match=r"hold mixup_weights while .* got \['bboxes', 'labels'\]"
                       r".*type='tricks_plugin.PackWeightedDetInputs'"):
        head_loss(model.bbox_head, features(), samples())
    transform.enabled = False
    head_loss(model.bbox_head, features(), samples())


def test_a_loss_called_with_another_shape_is_refused(model):
    head = model.bbox_head
    levels = head.loss_by_feat_single

    def transposed(prediction, target, negative):
        """A user's own head that weighs channels first."""
        head.loss_cls(torch.zeros(3, 2, 9), torch.zeros(3, 2, 9), weight=torch.ones(3, 900, 1))
        return levels(prediction, target, negative)

    head.loss_by_feat_single = transposed
    installed(model)
    with pytest.raises(ValueError, match=r'loss_cls must be called once per level.*got \(3, 900, '):
        head_loss(head, features(), samples(WEIGHTS))


def test_heads_that_are_not_weighted_are_named(yolov3, caplog):
    register_all_modules(init_default_scope=True)
    model = torch.nn.ModuleDict(dict(
        module=torch.nn.ModuleDict(dict(
            bbox_head=MODELS.build(dict(
                type='FCOSHead', num_classes=2, in_channels=8,  # with a loss that ignores weights
                loss_cls=dict(type='EQLV2Loss', use_sigmoid=True, num_classes=2))))),
        other=MODELS.build({**yolov3['bbox_head'], 'train_cfg': None})))
    with caplog.at_level(logging.INFO):
        hook = installed(model)
    assert hook.weighted_heads == []
    assert hook.unweighted_heads == ['bbox_head (FCOSHead)', 'other (YOLOV3Head)']
    assert 'without weights: bbox_head (FCOSHead), other (YOLOV3Head)' in caplog.text


def test_it_works_under_autocast(model):
    installed(model)
    inputs = features(6)
    plain = head_loss(model.bbox_head, inputs, samples(WEIGHTS))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        mixed = head_loss(model.bbox_head, inputs, samples(WEIGHTS))
    for name in LOSSES:
        assert float(mixed[name].sum()) == pytest.approx(float(plain[name].sum()), rel=0.05)
