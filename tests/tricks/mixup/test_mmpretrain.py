"""Mixup in mmpretrain's classifiers: the edit, the hook and the evidence, without mmpretrain."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from support.libraries import classifier
from torch import nn

from tricks_plugin.mm import config_edit
from tricks_plugin.tricks.mixup import MixUp
from tricks_plugin.tricks.mixup.batch_hook import BatchMixUpHook, unmixed
from tricks_plugin.tricks.mixup.evidence import MixUpEvidence
from tricks_plugin.tricks.mixup.scores import of_scores


def mix(cfg, **params):
    cfg = config_edit.plain(cfg)
    return cfg, MixUp.from_dict(params).apply(cfg)


def augmented(*augments, **more):
    return classifier(model=dict(train_cfg=dict(augments=list(augments), **more)))


def test_a_classifier_gets_mmpretrains_own_augment_with_the_papers_alpha():
    cfg, verdict = mix(classifier())
    assert cfg['model']['train_cfg'] == dict(augments=[dict(type='Mixup', alpha=0.2)])
    assert 'custom_hooks' not in cfg
    assert verdict.status == 'applied'
    assert verdict.reason == 'model.train_cfg mixes each batch with itself, alpha 0.2'
    assert verdict.promise == dict(scores=True, alpha=0.2, prob=1.0, off_fraction=0.0,
                                    off_epochs=None, off_from=None)
    assert mix(cfg)[1].reason == 'model.train_cfg is Mixup, with alpha 0.2'


def test_it_ends_only_where_that_is_asked_for():
    cfg, verdict = mix(classifier(), alpha=0.4, prob=0.5, off_fraction=0.1)
    assert cfg['model']['train_cfg'] == dict(augments=[dict(type='Mixup', alpha=0.4)], probs=[0.5])
    assert cfg['custom_hooks'] == [dict(type='tricks_plugin.BatchMixUpHook', off_fraction=0.1,
                                        off_epochs=None)]
    assert verdict.reason == ('model.train_cfg mixes 50% of the batches, alpha 0.4; off from epoch '
                              '90 of 100, counted from 0')
    own = augmented(dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0))
    cfg, verdict = mix(own, off_epochs=20)
    assert verdict.status == 'applied' and verdict.promise['off_epochs'] == 20
    assert verdict.reason.endswith('off from epoch 80 of 100, counted from 0')
    assert cfg['model'] == config_edit.plain(own)['model']
    assert mix(cfg, off_epochs=20)[1].status == 'present'


def test_the_configs_own_augments_stay_unless_they_are_to_be_replaced():
    both = augmented(dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0))
    _, verdict = mix(both)
    assert verdict.status == 'present'
    assert verdict.reason == ('model.train_cfg is Mixup or CutMix, with alpha 0.8 for Mixup, drawn '
                              'for 50% of the batches; mixup.replace=True would put this trick in '
                              'its place')
    assert verdict.promise == dict(scores=True, alpha=0.8, prob=1.0, cutmix=1.0, off_fraction=0.0,
                                    off_epochs=None, off_from=None)
    cfg, verdict = mix(both, replace=True)
    assert verdict.status == 'applied'
    assert verdict.reason.endswith('alpha 0.2, in the place of Mixup and CutMix')
    assert cfg['model']['train_cfg'] == dict(augments=[dict(type='Mixup', alpha=0.2)])
    assert mix(cfg, replace=True)[1].status == 'present'
    _, verdict = mix(augmented(dict(type='CutMix', alpha=1.0)))
    assert verdict.status == 'not_applicable' and 'one of its augments' in verdict.reason


def test_the_preprocessors_own_augments_stand_before_train_cfg():
    own = dict(num_classes=10, batch_augments=dict(augments=dict(type='Mixup', alpha=1.0)))
    _, verdict = mix(classifier(preprocessor=own))
    assert verdict.reason.startswith('data_preprocessor.batch_augments is Mixup, with alpha 1.0')
    cfg, verdict = mix(classifier(preprocessor=own), replace=True)
    assert cfg['data_preprocessor']['batch_augments'] == dict(
        augments=[dict(type='Mixup', alpha=0.2)])
    cfg, _ = mix(classifier(preprocessor=dict(num_classes=10, batch_augments=None)))
    assert 'batch_augments' not in cfg['data_preprocessor']


def test_what_mixed_labels_need_is_set():
    cfg, verdict = mix(classifier(dict(num_classes=7, cal_acc=True),
                                  preprocessor=dict(mean=[0.0], std=[1.0])))
    assert cfg['data_preprocessor']['num_classes'] == 7
    assert cfg['model']['head']['cal_acc'] is False
    assert 'model.head.cal_acc is off' in verdict.reason
    # A base config's count, which nothing read before, would make targets of another width.
    cfg, verdict = mix(classifier(dict(num_classes=3), preprocessor=dict(num_classes=1000)))
    assert cfg['data_preprocessor']['num_classes'] == 3
    assert 'data_preprocessor.num_classes was 1000, and is the head\'s 3' in verdict.reason


@pytest.mark.parametrize(('cfg', 'reason'), [
    (lambda: classifier(dict(type='ArcFaceClsHead')), 'whose margin belongs to one class'),
    (lambda: classifier(dict(loss=dict(type='SeesawLoss'))), 'counts hard labels'),
    (lambda: classifier(preprocessor=dict(type='SelfSupDataPreprocessor')),
     'data_preprocessor is SelfSupDataPreprocessor, which is no ClsDataPreprocessor'),
    (lambda: classifier(dict(num_classes=None), preprocessor=dict(mean=[0.0])),
     'says num_classes'),
    (lambda: classifier(dict(type='MultiTaskHead')), 'no scores that could be mixed'),
])
def test_what_cannot_be_mixed_is_named(cfg, reason):
    _, verdict = mix(cfg())
    assert verdict.status == 'not_applicable' and reason in verdict.reason


def test_a_hook_of_mmpretrain_that_ends_it_first_is_told_and_counted():
    hook = dict(type='SwitchRecipeHook', schedule=[dict(action_epoch=41, batch_augments=None)])
    cfg, verdict = mix(classifier(custom_hooks=[hook]))
    assert 'custom_hooks[0] is SwitchRecipeHook, which puts an end to it from epoch 40' in \
        verdict.reason
    assert verdict.promise['off_from'] == 40
    assert cfg['custom_hooks'][1] == dict(type='tricks_plugin.BatchMixUpHook')
    cutmix = dict(augments=dict(type='CutMix', alpha=1.0))
    twice = dict(hook, schedule=[dict(action_epoch=31, batch_augments=cutmix), *hook['schedule']])
    cfg, verdict = mix(classifier(custom_hooks=[twice]))
    assert cfg['custom_hooks'][1] == dict(type='tricks_plugin.BatchMixUpHook')
    hook['schedule'][0]['batch_augments'] = cutmix
    assert mix(classifier(custom_hooks=[hook]))[1].promise is None


def test_scores_are_read_as_they_are():
    rows = torch.tensor([[0.0, 1.0, 0.0], [0.75, 0.25, 0.0], [0.9, 0.0, 0.1], [1.0, 1.0, 0.0]])
    samples, numbers = of_scores(rows)
    assert samples == 4
    # Two rows are mixed, with shares of 0.25 and 0.1.
    assert numbers.tolist() == pytest.approx([2, 0.35, 0.1, 0.25], abs=1e-6)
    assert of_scores(torch.tensor([2, 0]))[1].tolist() == [0, 0, 0, 0]


class Toy(nn.Module):
    """A classifier of mmpretrain's form whose batches are mixed in its preprocessor."""

    def __init__(self):
        super().__init__()
        self.data_preprocessor = SimpleNamespace(
            batch_augments=lambda inputs, scores: (inputs, 0.7 * scores + 0.3 * scores.flip(0)))
        self.head = nn.Module()
        self.head.loss_module = nn.CrossEntropyLoss()

    def step(self):
        _, targets = self.data_preprocessor.batch_augments(
            None, torch.eye(4, dtype=torch.int64)[[0, 1, 2, 3]])
        self.head.loss_module(torch.randn(4, 4), targets)
        return bool(((targets > 0) & (targets < 1)).any())


def trained(hook, promise, spoil=lambda epoch, model: None, epochs=4):
    """The evidence's finding of a training of two iterations an epoch, and what was mixed."""
    model, evidence = Toy(), MixUpEvidence(scores=True, **promise)
    log = SimpleNamespace(info=lambda text: None, warning=lambda text: None)
    runner = SimpleNamespace(model=model, train_loop=None, max_epochs=epochs, logger=log, epoch=0,
                             train_dataloader=torch.utils.data.DataLoader([0, 1]))
    training = SimpleNamespace(model=model, loaders={}, by_epoch=True, max_epochs=epochs,
                               max_iterations=2 * epochs, epoch_length=2, targets=None)
    hook.before_train(runner)
    evidence.start(training)
    mixed = []
    for iteration in range(2 * epochs):
        training.epoch = runner.epoch = iteration // 2
        training.iteration = iteration
        spoil(runner.epoch, model)
        hook.before_train_iter(runner, iteration % 2)
        evidence.before_iteration(training)
        mixed.append(model.step())
    evidence.close()
    assert not model.head.loss_module._forward_pre_hooks
    return evidence.finding(training), mixed


def test_the_hook_ends_the_mixing_and_the_evidence_sees_both():
    finding, mixed = trained(BatchMixUpHook(0.25), dict(alpha=0.2, off_fraction=0.25))
    assert mixed == [True] * 6 + [False] * 2
    assert finding.live is True
    assert finding.values['mixed'] == 24 and finding.values['mixed_after_switch'] == 0
    assert finding.measured == ('24 of 24 samples mixed (6 of 6 batches looked at before the '
                                'switch); shares 0.30 to 0.30, mean 0.30; 0 of 8 after the switch')


def test_mixing_that_goes_on_or_stops_early_is_dead():
    finding, _ = trained(BatchMixUpHook(0.0), dict(alpha=0.2, off_fraction=0.25))
    assert finding.live is False

    def stop(epoch, model):
        if epoch == 1:
            model.data_preprocessor.batch_augments = unmixed

    finding, _ = trained(BatchMixUpHook(0.0), dict(alpha=0.2), stop, epochs=40)
    assert finding.live is False and 'none of the last' in finding.measured


def test_scores_stay_shares_where_a_hook_of_mmpretrain_takes_the_augments_off():
    def switch(epoch, model):
        if epoch == 2:
            model.data_preprocessor.batch_augments = None
            model.data_preprocessor.to_onehot = True

    finding, mixed = trained(BatchMixUpHook(), dict(alpha=0.2, off_from=2), switch)
    assert mixed == [True] * 4 + [False] * 4 and finding.live is True


@pytest.mark.parametrize(('values', 'words'), [
    (dict(off_fraction=1.0), 'off_fraction must be in'), (dict(off_epochs=-1), 'off_epochs must')])
def test_wrong_arguments_of_the_hook_are_named(values, words):
    with pytest.raises(ValueError, match=words):
        BatchMixUpHook(**values)
