"""Square sizes for the batches of mmpretrain's classifiers, without mmpretrain."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from mmengine.runner import IterBasedTrainLoop
from support.libraries import classifier
from torch import nn

from tricks_plugin.common.phases import Phases
from tricks_plugin.mm import config_edit
from tricks_plugin.plan.errors import TrickError
from tricks_plugin.tricks.random_shapes import RandomShapes
from tricks_plugin.tricks.random_shapes.class_hook import ClassifierShapesHook
from tricks_plugin.tricks.random_shapes.evidence import RandomShapesEvidence


def edit(cfg, **params):
    cfg = config_edit.plain(cfg)
    return cfg, RandomShapes.from_dict(params).apply(cfg)


def test_the_sizes_are_those_of_the_timm_side():
    cfg, verdict = edit(classifier(env_cfg=dict(cudnn_benchmark=True)))
    assert cfg['custom_hooks'] == [dict(type='tricks_plugin.ClassifierShapesHook', base=224,
                                        sizes=[160, 192, 224], divisor=32, interval=10,
                                        home=224, share=0.5, off_fraction=0.1, off_epochs=None)]
    assert cfg['env_cfg']['cudnn_benchmark'] is False
    assert verdict.status == 'applied'
    assert verdict.reason.startswith(
        '3 sizes of 160 to 224 px (squares), the largest first; half of the draws and all from '
        "epoch 90 of 100 on, counted from 0, at the training's own 224 px, as no step of "
        'val_dataloader says at which it tests; cudnn_benchmark is off')
    assert verdict.promise == dict(sizes=[160, 192, 224], divisor=32, interval=10, square=True,
                                   inside=True, home=224, share=0.5, off_fraction=0.1,
                                   off_epochs=None)
    again, second = edit(cfg)
    assert second.status == 'present' and second.promise == verdict.promise
    assert again == cfg


def test_sizes_and_ranges_of_the_users_own():
    cfg, verdict = edit(classifier(), sizes=(192, 256), interval=1)
    assert cfg['custom_hooks'][0]['sizes'] == [192, 256] and cfg['custom_hooks'][0]['interval'] == 1
    assert "enlarged by interpolation from the config's own 224 px" in verdict.reason
    with pytest.raises(TrickError, match='must span two multiples of 32'):
        edit(classifier(), ratio_range=(0.98, 1.0))


@pytest.mark.parametrize(('cfg', 'reason'), [
    (lambda: classifier(size=32), 'trains at 32 px, which leaves fewer than two sizes of 64 px'),
    (lambda: classifier(size=(224, 160)), '224 x 160 px, and the sizes drawn are squares'),
    (lambda: classifier(preprocessor=dict(type='SelfSupDataPreprocessor')),
     'is SelfSupDataPreprocessor, which is no ClsDataPreprocessor'),
    (lambda: classifier(custom_hooks=[dict(type='SwitchRecipeHook', schedule=[
        dict(action_epoch=9, train_pipeline=[])])]), 'puts pipelines of its own in'),
])
def test_what_has_no_square_sizes_is_named(cfg, reason):
    _, verdict = edit(cfg())
    assert verdict.status == 'not_applicable' and reason in verdict.reason


@pytest.mark.parametrize(('tested', 'home', 'words'), [
    (192, 192, 'at the test scale of 192 px'), (
        200, 192, 'at the test scale of 192 px (200 px, down to a multiple of 32)'),
    (320, 224, "at the training's own 224 px, as nothing is enlarged to the 320 px of the test"),
])
def test_the_tail_is_at_the_test_s_size_and_never_larger_than_the_training_s(tested, home, words):
    cfg = classifier(val_dataloader=dict(dataset=dict(pipeline=[
        dict(type='ResizeEdge', scale=356), dict(type='CenterCrop', crop_size=tested)])))
    cfg, verdict = edit(cfg, test_share=0.25, off_epochs=3)
    assert verdict.reason.endswith(
        f'0.25 of the draws and all from epoch 97 of 100 on, counted from 0, {words}')
    assert {key: cfg['custom_hooks'][0][key] for key in ('home', 'share', 'off_epochs')} == dict(
        home=home, share=0.25, off_epochs=3)
    with pytest.raises(TrickError, match='random_shapes.off_epochs must be below the 100 epochs'):
        edit(classifier(), off_epochs=100)


def test_nothing_is_enlarged_where_a_size_is_no_multiple():
    def at(own, tested):
        cfg = classifier(size=own, val_dataloader=dict(dataset=dict(pipeline=[
            dict(type='CenterCrop', crop_size=tested)])))
        cfg, verdict = edit(cfg)
        return cfg['custom_hooks'][0]['home'], verdict.reason

    home, reason = at(240, 240)
    assert home == 224
    assert 'at the test scale of 224 px (240 px, down to a multiple of 32)' in reason
    home, reason = at(176, 224)
    assert home == 160
    assert "at the training's own 160 px (176 px, down to a multiple of 32), as" in reason


class Preprocessor(nn.Module):
    """Hands over images as mmpretrain's does."""

    def forward(self, data, training=False):
        return {'inputs': data.float(), 'data_samples': None}


class Classifier(nn.Module):
    """A model of mmpretrain's form."""

    def __init__(self):
        super().__init__()
        self.data_preprocessor, self.backbone = Preprocessor(), nn.Conv2d(3, 2, 3)

    def extract_feat(self, images):
        return self.backbone(images)

    def step(self, images, training=True):
        shown = self.data_preprocessor(images, training)['inputs']
        self.backbone(shown)
        return shown.shape[-1]


class Loader(list):
    """A data loader without workers."""

    num_workers, prefetch_factor = 0, None


def trained(iterations=40, spoil=lambda iteration, hook: None, sizes=(64, 96), **ending):
    """The sizes that arrive in a training, one more of validation, and the finding."""
    model, images = Classifier(), torch.zeros(2, 3, 96, 96, dtype=torch.uint8)
    hook = ClassifierShapesHook(96, list(sizes), interval=2, **ending)
    evidence = RandomShapesEvidence(list(sizes), 32, 2, square=True, inside=True, **ending)
    log = SimpleNamespace(info=lambda text: None, warning=lambda text: None)
    hub = SimpleNamespace(get_info=lambda key: None, update_info=lambda key, value: None)
    runner = SimpleNamespace(model=model, iter=0, seed=5, cfg={}, logger=log, message_hub=hub,
                             train_loop=IterBasedTrainLoop.__new__(IterBasedTrainLoop),
                             max_iters=iterations, train_dataloader=Loader([0]))
    training = SimpleNamespace(model=model, by_epoch=False, max_iterations=iterations,
                               epoch_length=1)
    hook.before_train(runner)
    evidence.start(training)
    sizes = []
    for runner.iter in range(iterations):
        training.iteration = runner.iter
        spoil(runner.iter, hook)
        hook.before_train_iter(runner, runner.iter, {'inputs': images})
        evidence.before_iteration(training)
        sizes.append(model.step(images))
        evidence.after_iteration(training)
    tested = model.step(images, training=False)
    hook.after_train(runner)
    assert model.step(images) == 96
    evidence.close()
    return sizes, tested, evidence.finding(training)


def test_batches_arrive_in_sizes_of_an_interval_the_largest_first_and_validation_is_left_alone():
    sizes, tested, finding = trained()
    assert sizes[:2] == [96, 96] and set(sizes) == {64, 96} and tested == 96
    assert sizes[::2] == sizes[1::2]
    assert finding.live is True
    assert sizes == trained()[0]


def test_the_tail_and_half_of_the_draws_are_at_the_test_s_size():
    sizes, tested, finding = trained(200, sizes=(64, 96, 128), home=96, off_fraction=0.25)
    assert sizes[150:] == [96] * 50 and set(sizes[:150]) == {64, 96, 128} and tested == 96
    # of 74 draws after the first, within four standard deviations of a half
    assert 20 <= sizes[2:150:2].count(96) <= 54
    assert finding.live is True and finding.values['tail_batches'] == 50
    assert finding.values['draws_told'] == 74
    # a tail at a size that is not drawn
    sizes, _, finding = trained(40, sizes=(64, 128), home=96, off_fraction=0.25)
    assert sizes[30:] == [96] * 10 and 96 not in sizes[:30] and finding.live is True


def test_a_tail_that_does_not_come_is_dead():
    def late(iteration, hook):
        hook.phases = Phases(False, 200, 0, 200, 200, 200)

    finding = trained(200, late, home=96, off_fraction=0.25)[2]
    assert finding.live is False and 'of the tail are not at the test scale' in finding.measured


def test_sizes_that_are_drawn_no_more_are_dead():
    def stop(iteration, hook):
        if iteration == 20:
            hook.set = hook.augment.set_iteration
            hook.augment.set_iteration = lambda *given: None

    assert trained(120, stop)[2].live is False


def test_a_size_that_was_not_planned_is_dead():
    def grow(iteration, hook):
        if iteration == 10:
            hook.augment.sizes = [128]

    finding = trained(40, grow)[2]
    assert finding.live is False and 'have no planned size' in finding.measured


def test_a_whole_model_of_timm_is_asked_for_its_sizes():
    pytest.importorskip('mmpretrain')
    for name, takes in (('vit_tiny_patch16_224', False), ('resnet10t', True)):
        cfg = classifier()
        cfg.model = dict(type='TimmClassifier', model_name=name, num_classes=10)
        _, verdict = edit(cfg)
        assert (verdict.status == 'applied') is takes, verdict.reason
        assert takes or verdict.reason == ('model is TimmClassifier, and the model takes images of '
                                           '224 px and not of 160')
