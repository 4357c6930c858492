"""Label smoothing in mmpretrain's classifiers: the edit and the loss, without mmpretrain."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from support.libraries import classifier
from torch import nn

from tricks_plugin.mm import config_edit
from tricks_plugin.tricks.label_smoothing import LabelSmoothing
from tricks_plugin.tricks.label_smoothing.class_loss import SmoothedClassificationLoss
from tricks_plugin.tricks.label_smoothing.evidence import LabelSmoothingEvidence

LOSS = 'tricks_plugin.SmoothedClassificationLoss'


def smooth(cfg, **params):
    cfg = config_edit.plain(cfg)
    return cfg, LabelSmoothing.from_dict(params).apply(cfg)


def test_a_softmax_head_gets_hes_targets():
    cfg, verdict = smooth(classifier())
    assert cfg['model']['head']['loss'] == dict(type=LOSS, loss_weight=1.0, eps=0.1, variant='he')
    assert verdict.status == 'applied'
    assert verdict.reason == 'head: softmax he, K=1000: true 0.9, others 0.0001001001001'
    assert verdict.promise == {'expected': [
        {'path': 'head.loss_module', 'variant': 'he', 'eps': 0.1}]}
    _, again = smooth(cfg)
    assert again.status == 'present' and again.promise == verdict.promise


def test_soft_labels_and_several_labels_each_take_their_form():
    soft = classifier(dict(type='MultiLabelLinearClsHead', num_classes=5, loss=dict(
        type='CrossEntropyLoss', use_soft=True)))
    assert smooth(soft)[1].reason == 'head: softmax he, K=5: true 0.9, others 0.025'
    several = classifier(dict(type='CSRAClsHead', num_classes=20, loss=dict(
        type='CrossEntropyLoss', use_sigmoid=True)))
    assert smooth(several)[1].reason == \
        'head: sigmoid multi_label, several labels an image, K=20: true 0.9, others 0.1'
    binary = classifier(dict(num_classes=4, loss=dict(type='CrossEntropyLoss', use_sigmoid=True)))
    assert smooth(binary)[1].reason == 'head: sigmoid szegedy, K=4: true 0.925, others 0.025'
    _, refused = smooth(soft, variant='binary')
    assert refused.status == 'not_applicable' and 'do not sum to 1' in refused.reason


@pytest.mark.parametrize(('mode', 'variant', 'formula'), [
    ({}, 'szegedy', '(original): true 1 - eps + eps / K, others eps / K, eps=0.1'),
    (dict(mode='classy_vision'), 'classy_vision',
     '(classy_vision): true (1 + eps / K) / (1 + eps), others (eps / K) / (1 + eps), eps=0.1'),
    (dict(mode='multi_label'), 'multi_label', '(multi_label): true 1 - eps, others eps, eps=0.1'),
])
def test_mmpretrains_own_smoothing_is_present_by_its_own_formula(mode, variant, formula):
    cfg = classifier(dict(loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, **mode)))
    _, verdict = smooth(cfg)
    assert verdict.status == 'present'
    assert verdict.reason == f'head: smoothed already by LabelSmoothLoss {formula}'
    assert verdict.promise == {'expected': [
        {'path': 'head.loss_module', 'variant': variant, 'eps': 0.1}]}


@pytest.mark.parametrize(('cfg', 'reason'), [
    (lambda: classifier(dict(loss=dict(type='SeesawLoss'))), 'counts of hard labels'),
    (lambda: classifier(dict(type='RegressionHead', loss=dict(type='RegressionLoss'))),
     'has numbers as targets, not classes'),
    (lambda: classifier(dict(num_classes=1)), 'a single class'),
    (lambda: classifier(custom_hooks=[dict(type='SwitchRecipeHook', schedule=[
        dict(action_epoch=3, loss=dict(type='CrossEntropyLoss'))])]),
     'custom_hooks[0] is SwitchRecipeHook, which puts another loss in its place'),
])
def test_what_cannot_be_smoothed_is_named(cfg, reason):
    _, verdict = smooth(cfg())
    assert verdict.status == 'not_applicable' and reason in verdict.reason


def switching(epoch, **more):
    return dict(type='SwitchRecipeHook', schedule=[dict(action_epoch=epoch, **more)])


def test_a_hook_that_ends_the_configs_own_smoothing_is_named():
    own = dict(loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1))
    _, plain = smooth(classifier(own))
    _, verdict = smooth(classifier(own, custom_hooks=[
        switching(60, loss=dict(type='CrossEntropyLoss'))]))
    assert verdict.status == 'present' and verdict.reason == plain.reason + (
        '; custom_hooks[0] is SwitchRecipeHook, which puts CrossEntropyLoss in its place from '
        'epoch 59, counted from 0')
    assert verdict.promise == {'expected': [{**plain.promise['expected'][0], 'until': 59}]}
    for hook in (switching(101, loss=dict(type='CrossEntropyLoss')),  # of 100 epochs
                 switching(60, batch_augments=None)):
        assert smooth(classifier(own, custom_hooks=[hook]))[1] == plain


def test_the_heads_of_several_tasks_are_smoothed_each():
    heads = {name: dict(type='LinearClsHead', num_classes=count, in_channels=8,
                        loss=dict(type='CrossEntropyLoss')) for name, count in (('a', 3), ('b', 5))}
    cfg = classifier()
    cfg.model.head = dict(type='MultiTaskHead', task_heads=heads)
    _, verdict = smooth(cfg)
    assert verdict.reason == ('head.task_heads.a: softmax he, K=3: true 0.9, others 0.05; '
                              'head.task_heads.b: softmax he, K=5: true 0.9, others 0.025')
    assert [one['path'] for one in verdict.promise['expected']] == [
        'head.task_heads.a.loss_module', 'head.task_heads.b.loss_module']


def test_the_softmax_loss_is_the_hand_worked_one():
    # p = (1/2, 1/4, 1/4): -log p = (ln 2, 2 ln 2, 2 ln 2); q = (0.9, 0.05, 0.05).
    logits = torch.tensor([[math.log(2), 0.0, 0.0]])
    loss = SmoothedClassificationLoss(eps=0.1, variant='he', loss_weight=2.0)
    wanted = 2 * 1.1 * math.log(2)
    for label in (torch.tensor([0]), torch.tensor([[0]]), torch.tensor([[1.0, 0.0, 0.0]])):
        assert float(loss(logits, label)) == pytest.approx(wanted, rel=1e-6)
    # A mixture of 0.6 and 0.4 of the first two: q = (0.56, 0.39, 0.05).
    mixed = torch.tensor([[0.6, 0.4, 0.0]])
    assert float(loss(logits, mixed, avg_factor=4)) == pytest.approx(
        2 * (0.56 + 2 * 0.44) * math.log(2) / 4, rel=1e-6)
    with pytest.raises(ValueError, match='avg_factor goes with reduction mean'):
        loss(logits, mixed, avg_factor=4, reduction_override='sum')


def test_the_sigmoid_loss_is_the_hand_worked_one():
    # At logits of zero each term is ln 2 whatever its target; with pos_weight w it is
    # (q w + 1 - q) ln 2, q = (0.8, 0.2, 0.8) of a row with two labels.
    logits, labels = torch.zeros(1, 3), torch.tensor([[1.0, 0.0, 1.0]])
    loss = SmoothedClassificationLoss(use_sigmoid=True, eps=0.2, variant='multi_label',
                                      pos_weight=[3.0, 1.0, 1.0], reduction='sum')
    assert float(loss(logits, labels)) == pytest.approx((0.8 * 3 + 0.2 + 2) * math.log(2), rel=1e-6)


def test_a_variant_that_is_no_distribution_is_refused_for_a_softmax():
    with pytest.raises(ValueError, match='must have targets that sum to 1'):
        SmoothedClassificationLoss(variant='multi_label')


class Stock(nn.Module):
    """mmpretrain's LabelSmoothLoss in a few lines: its attributes, and its mode 'original'."""

    def __init__(self, eps=0.2):
        super().__init__()
        self.eps, self.loss_weight, self.ce = eps, 3.0, SimpleNamespace(use_sigmoid=False)

    def forward(self, cls_score, label, weight=None, avg_factor=None):
        classes = cls_score.shape[1]
        if label.dim() == 1:
            label = nn.functional.one_hot(label, classes)
        soft = label.float() * (1 - self.eps) + self.eps / classes
        return self.loss_weight * -(soft * cls_score.log_softmax(1)).sum() / avg_factor


class LabelSmoothLoss(Stock):
    """Known by its name."""


def judged(loss, labels, expected, after=lambda loss: None):
    """The evidence's finding on a loss that is called for some iterations."""
    model = nn.Module()
    model.head = nn.Module()
    model.head.loss_module = loss
    evidence = LabelSmoothingEvidence([dict(path='head.loss_module', **expected)])
    training = SimpleNamespace(model=model, criterion=None, targets=[object()], epoch=0)
    evidence.start(training)
    for training.iteration in range(30):
        evidence.before_iteration(training)
        model.head.loss_module(torch.randn(len(labels), 4), labels, avg_factor=len(labels))
        evidence.after_iteration(training)
        if training.iteration == 9:
            after(model.head)
    evidence.close()
    return evidence.finding(training)


@pytest.mark.parametrize('labels', [torch.tensor([0, 3, 1]),
                                    torch.tensor([[0.7, 0.3, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])])
def test_the_evidence_reads_mmpretrains_loss_by_its_gradient(labels):
    finding = judged(LabelSmoothLoss(), labels, dict(variant='szegedy', eps=0.2))
    assert finding.live is True
    assert finding.measured == 'head.loss_module targets 0.05 to 0.85'
    assert judged(LabelSmoothLoss(0.1), labels, dict(variant='szegedy', eps=0.2)).live is False


def exchanged(expected, begin=0, loss=None, switch=2):
    """The evidence's finding of five epochs, 30 iterations each; another loss comes in `switch`."""
    model = nn.Module()
    model.head = nn.Module()
    model.head.loss_module = Stock() if begin >= switch else loss or LabelSmoothLoss()
    evidence = LabelSmoothingEvidence([dict(path='head.loss_module', **expected)])
    training = SimpleNamespace(model=model, criterion=None, targets=[object()], epoch=begin)
    evidence.start(training)
    for training.iteration in range(30 * begin, 150):
        training.epoch = training.iteration // 30
        if training.iteration == 30 * switch:
            model.head.loss_module = Stock()
        evidence.before_iteration(training)
        model.head.loss_module(torch.randn(3, 4), torch.tensor([0, 3, 1]), avg_factor=3)
        evidence.after_iteration(training)
    evidence.close()
    return evidence.finding(training)


def test_after_an_announced_switch_what_was_measured_before_it_holds():
    planned = dict(variant='szegedy', eps=0.2)
    finding = exchanged(dict(planned, until=2))
    assert finding.live is True
    assert finding.measured == (
        "head.loss_module targets 0.05 to 0.85 (before epoch 2, from which the config's own "
        'SwitchRecipeHook has put another loss in its place)')
    assert exchanged(dict(planned, until=2), loss=LabelSmoothLoss(0.1)).live is False
    finding = exchanged(dict(planned, until=2), begin=3)  # resumed behind the switch
    assert finding.live is None and 'not called before it was replaced' in finding.measured
    # A switch that nobody announced, or that comes before the one that was, is a fault.
    assert exchanged(planned).live is False
    finding = exchanged(dict(planned, until=9))
    assert finding.live is False and 'not called in the last 90 iterations' in finding.measured


def test_a_loss_that_is_exchanged_after_a_good_start_is_dead():
    def exchange(head):
        head.loss_module = Stock()

    loss = SmoothedClassificationLoss(eps=0.1, variant='he')
    labels = torch.tensor([0, 3, 1])
    assert judged(loss, labels, dict(variant='he', eps=0.1)).live is True
    finding = judged(loss, labels, dict(variant='he', eps=0.1), exchange)
    assert finding.live is None or finding.live is False
