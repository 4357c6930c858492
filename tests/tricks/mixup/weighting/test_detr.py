"""The DETR line and the mask queries: weighted losses against sums made by hand."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from mmdet.models.dense_heads import DETRHead
from mmengine.config import Config
from support.weighting.kit import (
    LABELS,
    SHAPE,
    WEIGHTS,
    attached,
    build,
    finite_differences,
    float32_sum,
    instances,
    prove,
    rounding,
    total,
    training_step,
)

from tricks_plugin import GeometryPreservingMixUp

pytestmark = pytest.mark.slow

CLASSES, QUERIES = 3, 12
METAS = [dict(img_shape=SHAPE, batch_input_shape=SHAPE, pad_shape=SHAPE)] * 2
FOCAL = dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=2.0)
QUALITY = dict(type='QualityFocalLoss', use_sigmoid=True, beta=2.0, loss_weight=1.0)
MATCHER = dict(assigner=dict(type='HungarianAssigner', match_costs=[
    dict(type='FocalLossCost', weight=2.0), dict(type='BBoxL1Cost', weight=5.0, box_format='xywh'),
    dict(type='IoUCost', iou_mode='giou', weight=2.0)]))
SOFTMAX_MATCHER = dict(assigner=dict(type='HungarianAssigner', match_costs=[
    dict(type='ClassificationCost', weight=1.0),
    dict(type='BBoxL1Cost', weight=5.0, box_format='xywh'),
    dict(type='IoUCost', iou_mode='giou', weight=2.0)]))
SOFTMAX = dict(type='CrossEntropyLoss', bg_cls_weight=0.1, use_sigmoid=False, loss_weight=1.0,
               class_weight=1.0)


def head(kind, **kwargs):
    sections = dict(type=kind, num_classes=CLASSES, embed_dims=32, train_cfg=MATCHER,
                    loss_cls=FOCAL, sync_cls_avg_factor=True)
    return build(copy.deepcopy({**sections, **kwargs}))


def outputs(layers, queries=QUERIES, channels=CLASSES, seed=1, dtype=torch.float32):
    """Class logits and boxes (cx, cy, w, h in 0 to 1) of every layer for two images."""
    draw = torch.Generator().manual_seed(seed)
    scores = torch.randn(layers, 2, queries, channels, generator=draw, dtype=dtype)
    centres = torch.rand(layers, 2, queries, 2, generator=draw, dtype=dtype) * 0.6 + 0.2
    sizes = torch.rand(layers, 2, queries, 2, generator=draw, dtype=dtype) * 0.4 + 0.1
    return scores, torch.cat([centres, sizes], -1)


def detr(kind='DETRHead', **kwargs):
    module = head(kind, **kwargs)
    channels = module.cls_out_channels
    return module, lambda weights: module.loss_by_feat(
        *outputs(2, channels=channels), instances(weights), METAS)


DN_META = dict(num_denoising_queries=12, num_denoising_groups=2, num_dense_queries=QUERIES)


def dino(kind, weights_to_instances=instances, channels=CLASSES, dense=0, **kwargs):
    module = head(kind, **kwargs)

    def compute(weights):
        scores, boxes = outputs(2, QUERIES + 12 + dense, channels)
        first, first_boxes = outputs(1, QUERIES, channels, seed=2)
        return module.loss_by_feat(scores, boxes, first[0], first_boxes[0],
                                   weights_to_instances(weights), METAS, DN_META)
    return module, compute


def deformable():
    module = head('DeformableDETRHead', num_pred_layer=3, as_two_stage=True)

    def compute(weights):
        first, first_boxes = outputs(1, 30, seed=2)
        return module.loss_by_feat(*outputs(2), first[0], first_boxes[0], instances(weights),
                                   METAS)
    return module, compute


def ddq():
    module, compute = dino('DDQDETRHead', dense=QUERIES, num_pred_layer=3, as_two_stage=True)
    keep = torch.ones(2 * 8, QUERIES, QUERIES, dtype=torch.bool)
    keep[0, 0, :4] = keep[8, 0, 5:7] = False  # queries that are no distinct ones
    module.cache_dict = dict(distinct_query_mask=[keep], num_heads=8)
    return module, compute


def grounding():
    """Three tokens of text, of which every box names one or two."""
    def with_text(weights):
        batch = instances(weights)
        for item in batch:
            item.positive_maps = torch.zeros(len(item), 8)
            item.positive_maps[range(len(item)), item.labels] = 0.5
            item.positive_maps[:, 2] = 0.5
        return batch

    module, compute = dino('GroundingDINOHead', with_text, channels=8, num_pred_layer=3,
                           as_two_stage=True, contrastive_cfg=dict(max_text_len=8))
    module.text_masks = torch.tensor([[True, True, True]] * 2)
    return module, compute


HEADS = {
    'DETRHead': lambda: detr(loss_cls=SOFTMAX, train_cfg=SOFTMAX_MATCHER),
    'ConditionalDETRHead': lambda: detr('ConditionalDETRHead'),
    'DABDETRHead': lambda: detr('DABDETRHead'),
    'quality focal loss': lambda: detr('ConditionalDETRHead', loss_cls=QUALITY),
    'DeformableDETRHead': deformable,
    'DINOHead': lambda: dino('DINOHead', num_pred_layer=3, as_two_stage=True),
    'DINOHead, quality focal loss': lambda: dino(
        'DINOHead', num_pred_layer=3, as_two_stage=True, loss_cls=QUALITY),
    'DDQDETRHead': ddq,
    'GroundingDINOHead': grounding,
}


@pytest.mark.parametrize('name', HEADS)
def test_weights_of_one_change_nothing_and_each_box_s_part_is_linear_in_its_weight(name):
    module, compute = HEADS[name]()
    background, _ = prove([module], compute)
    plain = total(compute(None))
    for loss, left in background.items():
        if 'cls' in loss:
            assert left > rounding(plain[loss]), f'{loss} has no background'
        else:
            assert left == float32_sum(0, plain[loss]), f'{loss} has a part that is no box'


def test_ddq_s_dense_queries_are_weighted_too():
    module, compute = ddq()
    _, parts = prove([module], compute)
    plain = total(compute(None))
    for name in ('0_aux_aux_loss_cls', '0_aux_aux_loss_bbox', '1_aux_aux_loss_bbox'):
        assert all(abs(part[name]) > rounding(plain[name]) for row in parts for part in row), name


def giou(a, b):
    inside = [max(min(a[2], b[2]) - max(a[0], b[0]), 0), max(min(a[3], b[3]) - max(a[1], b[1]), 0)]
    overlap = inside[0] * inside[1]
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - overlap
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return overlap / union - (hull - union) / hull


def corners(box):
    cx, cy, w, h = box
    height, width = SHAPE
    return [(cx - w / 2) * width, (cy - h / 2) * height, (cx + w / 2) * width,
            (cy + h / 2) * height]


def by_hand(module, scores, boxes):
    """One decoder layer of ConditionalDETRHead in float64, box by box.

    Upstream is asked for one thing: which query is matched to which box.
    """
    sums = dict(loss_cls=0.0, loss_bbox=0.0, loss_iou=0.0)
    boxes_in_all = sum(len(row) for row in LABELS)
    for image, gt in enumerate(instances()):
        labels, _, targets, *_ = module._get_targets_single(
            scores[image].float(), boxes[image].float(), gt, METAS[image])
        truth = (gt.bboxes.numpy() / [96, 64, 96, 64]).tolist()
        for query in range(QUERIES):
            want = targets[query].tolist()
            box = next((number for number, (a, b, c, d) in enumerate(truth)
                        if np.allclose(want, [(a + c) / 2, (b + d) / 2, c - a, d - b])), None)
            weight = 1.0 if box is None else WEIGHTS[image][box]
            for channel, logit in enumerate(scores[image, query].tolist()):
                p = 1 / (1 + math.exp(-logit))
                hit = box is not None and channel == LABELS[image][box]
                term = 0.25 * (1 - p) ** 2 * -math.log(p) if hit \
                    else 0.75 * p ** 2 * -math.log(1 - p)
                sums['loss_cls'] += 2.0 * weight * term / boxes_in_all
            if box is None:
                assert int(labels[query]) == CLASSES
                continue
            mine = boxes[image, query].tolist()
            far = sum(abs(a - b) for a, b in zip(mine, want, strict=True))
            sums['loss_bbox'] += 5.0 * weight * far / boxes_in_all
            sums['loss_iou'] += 2.0 * weight * (
                1 - giou(corners(mine), gt.bboxes[box].tolist())) / boxes_in_all
    return sums


def test_the_losses_are_the_hand_made_sums_and_so_is_the_gradient():
    module = head('ConditionalDETRHead')
    scores, boxes = (item.requires_grad_() for item in outputs(1))
    want = by_hand(module, scores[0].detach().double(), boxes[0].detach().double())
    with attached(module):
        losses = module.loss_by_feat(scores, boxes, instances(WEIGHTS), METAS)
        sum(losses.values()).backward()
    for name, value in want.items():
        assert float(losses[name].detach()) == pytest.approx(value, rel=1e-5), name
    unweighted = total(module.loss_by_feat(scores, boxes, instances(), METAS))
    assert want['loss_bbox'] < 0.9 * unweighted['loss_bbox']
    exact_scores, exact_boxes = scores.detach().double()[0], boxes.detach().double()[0]

    def loss():
        return sum(by_hand(module, exact_scores, exact_boxes).values())

    places = [(0, 3, 1), (1, 7, 0), (0, 9, 2)]
    finite_differences(loss, exact_scores, scores.grad[0], places, step=1e-5, rel=1e-3,
                       single=False)
    matched = int(module._get_targets_single(
        scores[0, 0].detach(), boxes[0, 0].detach(), instances()[0], METAS[0])[4][0])
    finite_differences(loss, exact_boxes, boxes.grad[0], [(0, matched, k) for k in range(4)],
                       step=1e-6, rel=1e-3, single=False)


def test_denoising_queries_follow_their_box_in_every_group():
    module, _ = dino('DINOHead', num_pred_layer=3, as_two_stage=True)
    with attached(module) as hook:
        _, labels, _, boxes, *_ = module._get_dn_targets_single(
            instances(WEIGHTS)[0], METAS[0], DN_META)
    # two groups of six: three positives, then three negatives
    assert labels.tolist() == pytest.approx([0.3, 0.7, 0.7, 1, 1, 1] * 2)
    assert boxes[:, 2].tolist() == pytest.approx([0.3, 0.7, 0.7, 0, 0, 0] * 2)
    assert hook.weighted_positives == 6


def test_an_image_without_boxes_and_a_batch_that_failed_leave_nothing_behind():
    module, compute = detr('ConditionalDETRHead')
    want = None
    with attached(module):
        first = total(compute(WEIGHTS))
        empty = dict(boxes=[[], [[20., 10., 52., 58.]]], labels=[[], [0]])
        scores, boxes = outputs(2)
        want = total(module.loss_by_feat(scores, boxes, instances([[], [0.45]], **empty), METAS))
        broken = instances(WEIGHTS)
        broken[1].pop('labels')
        with pytest.raises(AttributeError):
            module.loss_by_feat(scores, boxes, broken, METAS)
        assert total(compute(WEIGHTS)) == first
    plain = total(module.loss_by_feat(scores, boxes, instances(**empty), METAS))
    assert want['loss_bbox'] == pytest.approx(0.45 * plain['loss_bbox'], rel=1e-5)


@pytest.mark.parametrize('loss', [dict(type='GHMC', bins=5), dict(type='EQLV2Loss', num_classes=3)])
def test_a_class_loss_that_ignores_weights_leaves_the_head_alone_and_named(loss):
    module = head('ConditionalDETRHead', loss_cls=dict(loss, use_sigmoid=True))
    with attached(module) as hook:
        assert (hook.weighted_heads, hook.unweighted_heads) == ([], ['0 (ConditionalDETRHead)'])


def test_samples_without_weights_are_refused_while_mixup_is_on():
    module, compute = detr('ConditionalDETRHead')
    with attached(module, transforms=[GeometryPreservingMixUp()]), \
            pytest.raises(ValueError, match='tricks_plugin.PackWeightedDetInputs'):
        compute(None)


class UsersDETRHead(DETRHead):
    """Somebody's own head with a loss of its own beside the targets of mmdet's."""

    def loss_by_feat(self, *args):
        losses = super().loss_by_feat(*args)
        return dict(loss_mine=3 * losses['loss_bbox'])


def test_a_user_s_head_is_weighted_and_a_copy_of_it_by_itself():
    module, _ = detr()
    module.__class__ = UsersDETRHead
    scores, boxes = outputs(2)
    prove([module], lambda weights: module.loss_by_feat(scores, boxes, instances(weights), METAS))
    with attached(module):
        twin = copy.deepcopy(module)
        theirs = twin.loss_by_feat(scores, boxes, instances(WEIGHTS), METAS)
        ours = module.loss_by_feat(scores, boxes, instances(WEIGHTS), METAS)
        assert total(theirs) == total(ours)
        assert vars(twin)['_get_targets_single'].around.__self__.head is twin


def mask_config(zoo, kind):
    name = dict(MaskFormerHead='maskformer/maskformer_r50_ms-16xb1-75e_coco.py',
                Mask2FormerHead='mask2former/mask2former_r50_8xb2-lsj-50e_coco.py')[kind]
    cfg = shrunk(Config.fromfile(zoo / name).model.to_dict())
    cfg['panoptic_head'].update(num_things_classes=CLASSES, num_stuff_classes=0)
    cfg['panoptic_head']['loss_cls'].update(class_weight=[1.0] * CLASSES + [0.1])
    cfg['panoptic_fusion_head'].update(num_things_classes=CLASSES, num_stuff_classes=0)
    cfg['train_cfg']['num_points'] = 40
    cfg['data_preprocessor'].update(pad_seg=False, batch_augments=None)
    return cfg


def mask_head(zoo, kind):
    cfg = mask_config(zoo, kind)
    module = build({**cfg['panoptic_head'], 'train_cfg': cfg['train_cfg'],
                    'test_cfg': cfg['test_cfg']})
    queries = cfg['panoptic_head']['num_queries']
    draw = torch.Generator().manual_seed(4)
    scores = torch.randn(2, 2, queries, CLASSES + 1, generator=draw)
    masks = torch.randn(2, 2, queries, SHAPE[0] // 4, SHAPE[1] // 4, generator=draw)
    return module, scores.requires_grad_(), masks.requires_grad_()


def mask_loss(module, scores, masks, weights):
    torch.manual_seed(9)  # Mask2Former draws the points of its losses
    prepared = module.preprocess_gt(instances(weights, masks=True), [None, None])
    return module.loss_by_feat(scores, masks, prepared, METAS)


@pytest.mark.parametrize('kind', ['MaskFormerHead', 'Mask2FormerHead'])
def test_mask_queries_are_weighted_per_box_in_class_mask_and_dice_loss(zoo, kind):
    module, scores, masks = mask_head(zoo, kind)
    background, parts = prove([module], lambda weights: mask_loss(module, scores, masks, weights))
    plain = total(mask_loss(module, scores, masks, None))
    for name, left in background.items():
        least = rounding(plain[name])
        assert left > least if 'cls' in name else left == float32_sum(0, plain[name]), name
        assert all(abs(part[name]) > least for row in parts for part in row), name


def test_maskformer_s_dice_and_mask_loss_are_the_hand_made_sums(zoo):
    module, scores, masks = mask_head(zoo, 'MaskFormerHead')
    with attached(module):
        losses = total(mask_loss(module, scores, masks, WEIGHTS))
    dice = focal = 0.0
    prepared = module.preprocess_gt(instances(masks=True), [None, None])
    for image in range(2):
        *_, pos_inds, _, sampled = module._get_targets_single(
            scores[-1, image].detach(), masks[-1, image].detach(), prepared[image], METAS[image])
        for query, box in zip(pos_inds.tolist(), sampled.pos_assigned_gt_inds.tolist(),
                              strict=True):
            large = torch.nn.functional.interpolate(
                masks[-1, image, query][None, None].detach(), SHAPE, mode='bilinear',
                align_corners=False)[0, 0].double().numpy()
            p = 1 / (1 + np.exp(-large))
            truth = prepared[image].masks[box].double().numpy()
            weight = WEIGHTS[image][box]
            dice += weight * (1 - (2 * (p * truth).sum() + 1) / (p.sum() + truth.sum() + 1))
            hit = np.where(truth == 1, p, 1 - p)
            share = np.where(truth == 1, 0.25, 0.75)
            focal += weight * (share * (1 - hit) ** 2 * -np.log(hit)).mean()
    # four boxes are the denominator; the loss weights are the zoo's 1 and 20
    assert losses['loss_dice'] == pytest.approx(dice / 4, rel=1e-4)
    assert losses['loss_mask'] == pytest.approx(20 * focal / 4, rel=1e-4)


def shrunk(node):
    """A model section with one layer, narrow backbone and few queries where the zoo's is large."""
    if isinstance(node, dict):
        node = {key: shrunk(value) for key, value in node.items()}
        if node.get('type') == 'ResNet':
            node.update(depth=18, base_channels=8, init_cfg=None, frozen_stages=-1)
        for key, value in dict(num_queries=QUERIES, num_layers=1, feedforward_channels=16,
                               num_matching_queries=QUERIES, dense_topk_ratio=1.5,
                               transformer_in_channels=64).items():
            if key in node:
                node[key] = value
        if 'in_channels' in node and isinstance(node['in_channels'], (list, tuple)):
            node['in_channels'] = [value // 32 for value in node['in_channels']]
        return node
    return [shrunk(item) for item in node] if isinstance(node, (list, tuple)) else node


MODELS = {
    'DETRHead': 'detr/detr_r50_8xb2-150e_coco.py',
    'ConditionalDETRHead': 'conditional_detr/conditional-detr_r50_8xb2-50e_coco.py',
    'DABDETRHead': 'dab_detr/dab-detr_r50_8xb2-50e_coco.py',
    'DeformableDETRHead':
        'deformable_detr/deformable-detr-refine-twostage_r50_16xb2-50e_coco.py',
    'DINOHead': 'dino/dino-4scale_r50_8xb2-12e_coco.py',
    'DDQDETRHead': 'ddq/ddq-detr-4scale_r50_8xb2-12e_coco.py',
}


@pytest.mark.parametrize('kind', MODELS)
def test_a_detector_takes_a_step(zoo, kind):
    cfg = shrunk(Config.fromfile(zoo / MODELS[kind]).model.to_dict())
    if kind == 'DDQDETRHead':
        cfg['dqs_cfg'] = dict(type='nms', iou_threshold=0.8)
    # unlike most parts, a level embedding is memory as it comes until it is initialised
    training_step(cfg, [f'bbox_head ({kind})'], init=True)


@pytest.mark.parametrize('kind', ['MaskFormerHead', 'Mask2FormerHead'])
def test_a_mask_detector_takes_a_step(zoo, kind):
    training_step(mask_config(zoo, kind), [f'panoptic_head ({kind})'], masks=True, init=True)


def test_the_weights_count_the_same_under_autocast():
    module, compute = detr('ConditionalDETRHead')
    with attached(module):
        want = total(compute(WEIGHTS))
        with torch.autocast('cpu', dtype=torch.bfloat16):
            got = total(compute(WEIGHTS))
    assert got == {name: pytest.approx(value, rel=0.02) for name, value in want.items()}
