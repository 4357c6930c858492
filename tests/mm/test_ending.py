"""The end of a run without an augmentation, as the plan says it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tricks_plugin.common.processes import planned_for
from tricks_plugin.mm.ending import SHARED, Ending, shared_ending
from tricks_plugin.plan.errors import TrickError

EPOCHS = {'train_cfg': {'max_epochs': 24}}
ITERATIONS = {'train_cfg': {'type': 'IterBasedTrainLoop', 'max_iters': 500}}


def ending(cfg, fraction=None, epochs=None):
    return Ending.of(cfg, SimpleNamespace(off_fraction=fraction, off_epochs=epochs), 'tricks.x')


@pytest.mark.parametrize(('cfg', 'fraction', 'epochs', 'words'), [
    (EPOCHS, None, None, 'off from epoch 22 of 24, counted from 0'),
    (EPOCHS, 0.5, None, 'off from epoch 12 of 24, counted from 0'),
    (EPOCHS, None, 3, 'off from epoch 21 of 24, counted from 0'),
    (EPOCHS, 0.0, None, 'on to the end'),
    (EPOCHS, None, 0, 'on to the end'),
    (ITERATIONS, None, None, 'off from iteration 450 of 500, counted from 0'),
    # how many iterations an epoch has, only the built dataset knows
    (ITERATIONS, None, 2, 'off for the last 2 epochs (not checked to be fewer than those of the '
                          'run: train_dataloader names no batch_size)'),
    (ITERATIONS, None, 0, 'on to the end'),
    ({}, 0.2, None, 'off for the last 0.2 of the training'),
    ({}, 0.0, None, 'on to the end'),
])
def test_what_is_said(cfg, fraction, epochs, words):
    assert str(ending(cfg, fraction, epochs)) == words


def told(name, fraction=None, epochs=None):
    return SimpleNamespace(name=name, params=SimpleNamespace(off_fraction=fraction,
                                                             off_epochs=epochs))


def test_the_others_keep_to_the_end_that_one_trick_is_told():
    tail, mixup = told('clean_tail', 0.3), told('mixup')
    shared = shared_ending([mixup, tail])
    assert shared == dict(off_fraction=0.3, off_epochs=None, trick='clean_tail')
    cfg = dict(train_cfg=dict(max_epochs=20), **{SHARED: shared})
    assert str(Ending.of(cfg, mixup.params, 'tricks.mixup')) == (
        'off from epoch 14 of 20, counted from 0, with the end of tricks.clean_tail')
    # the teacher is no augmentation, and a trick's own end wins
    assert str(Ending.of(cfg, mixup.params, 'tricks.distill')) == (
        'off from epoch 18 of 20, counted from 0')
    assert str(Ending.of(cfg, told('mixup', epochs=1).params, 'tricks.mixup')) == (
        'off from epoch 19 of 20, counted from 0')
    # the end of the config's own hook comes first
    cfg = {**switching(RTMDET), SHARED: shared}
    assert 'epoch 280 of 300' in str(Ending.of(cfg, mixup.params, 'tricks.mixup'))


@pytest.mark.parametrize('tricks', [
    [], [told('mixup'), told('clean_tail')], [told('mixup', 0.0)], [told('mixup', epochs=0)],
    [told('mixup', 0.2), told('clean_tail', 0.3)], [told('distill', 0.3), told('mixup')]])
def test_no_end_is_shared_where_none_is_set_or_two_are(tricks):
    assert shared_ending(tricks) is None


def test_a_shared_end_beyond_the_run_is_that_of_the_trick_that_was_told_it():
    cfg = {**EPOCHS, SHARED: shared_ending([told('clean_tail', epochs=24)])}
    with pytest.raises(TrickError, match='tricks.clean_tail.off_epochs must be below the 24 '):
        Ending.of(cfg, told('mixup').params, 'tricks.mixup')


def switching(*hooks, **loop):
    """A config of 300 epochs with mosaics and hooks that end them."""
    steps = [{'type': 'LoadImageFromFile'}, {'type': 'PackDetInputs'}]
    return dict(
        default_scope='mmdet', train_cfg={'max_epochs': 300, **loop}, custom_hooks=list(hooks),
        train_dataloader={'dataset': {
            'type': 'MultiImageMixDataset', 'pipeline': [{'type': 'Mosaic'}, *steps[1:]],
            'dataset': {'type': 'CocoDataset', 'pipeline': steps}}})


YOLOX = {'type': 'YOLOXModeSwitchHook', 'num_last_epochs': 15}
MMYOLO = {'type': 'mmyolo.YOLOXModeSwitchHook', 'num_last_epochs': 15,
          'new_train_pipeline': [{'type': 'PackDetInputs'}]}
RTMDET = {'type': 'PipelineSwitchHook', 'switch_epoch': 280,
          'switch_pipeline': [{'type': 'PackDetInputs'}]}


@pytest.mark.parametrize(('hook', 'words'), [
    # mmdet's hook acts before epoch 300 - 15 = 285, counted from 1
    (YOLOX, 'off from epoch 284 of 300, counted from 0, with custom_hooks[0] '
            '(YOLOXModeSwitchHook)'),
    (RTMDET, 'off from epoch 280 of 300, counted from 0, with custom_hooks[0] '
             '(PipelineSwitchHook)'),
    (MMYOLO, 'off from epoch 284 of 300, counted from 0, with custom_hooks[0] '
             '(YOLOXModeSwitchHook)'),
])
def test_the_end_is_that_of_the_configs_own_hook(hook, words):
    assert str(ending(switching(hook))) == words
    assert ending(switching(hook)).phases.off_from == int(words.split()[3])


@pytest.mark.parametrize(('cfg', 'given', 'off_from'), [
    (switching(RTMDET), {'fraction': 0.5}, 150),  # what the user says holds
    (switching(RTMDET), {'fraction': 0.1}, 270),
    (switching(RTMDET), {'epochs': 1}, 299),
    (switching(RTMDET, max_epochs=24), {}, 22),  # never due
    (switching(YOLOX, max_epochs=16), {}, 14),  # it would take the whole run
    (switching(dict(RTMDET, switch_epoch=0)), {}, 270),  # it takes the whole run
    (switching(dict(RTMDET, switch_epoch=-1)), {}, 270),
    (switching(YOLOX, type='IterBasedTrainLoop', max_iters=500), {}, 450),
])
def test_the_end_is_its_own_where_the_user_or_the_hook_does_not_decide(cfg, given, off_from):
    assert ending(cfg, **given).phases.off_from == off_from
    assert not ending(cfg, **given).beside


@pytest.mark.parametrize('epochs', [(100, 280), (280, 100)])
def test_of_several_hooks_the_last_to_switch_ends_it(epochs):
    assert ending(switching(*(dict(RTMDET, switch_epoch=one) for one in epochs))
                  ).phases.off_from == 280


def test_a_hook_that_ends_no_strong_step_is_no_end():
    cfg = switching(dict(RTMDET, switch_epoch=5))
    cfg['train_dataloader']['dataset']['pipeline'] = [{'type': 'RandomFlip'},
                                                      {'type': 'PackDetInputs'}]
    assert ending(cfg).phases.off_from == 270


def test_what_is_no_augmentation_keeps_its_own_end():
    params = SimpleNamespace(off_fraction=None, off_epochs=None)
    assert Ending.of(switching(RTMDET), params, 'tricks.x', follow=False).phases.off_from == 270


def test_a_tail_as_long_as_the_run_is_refused():
    for epochs in (24, 25):
        with pytest.raises(TrickError, match='^tricks.x.off_epochs must be below the 24 epochs of '
                                             f'the run, got {epochs}$'):
            ending(EPOCHS, None, epochs)
    assert ending(EPOCHS, None, 23).settings == {'off_fraction': 0.1, 'off_epochs': 23}
    assert ending(EPOCHS, None, 23).phases.off_from == 1
    # an epoch's iterations are not known here
    assert ending(ITERATIONS, None, 900).phases is None


def loader(tmp_path, **own):
    """500 iterations over 205 images by 16: 13 an epoch, so 38.46 epochs."""
    (tmp_path / 'a.json').write_text('{"images": [' + ', '.join(['{}'] * 205) + ']}')
    dataset = dict(type='CocoDataset', ann_file=str(tmp_path / 'a.json'))
    return dict(ITERATIONS, default_scope='mmdet', train_dataloader={
        'batch_size': 16, 'sampler': dict(type='InfiniteSampler'), 'dataset': dataset, **own})


def test_epochs_of_an_iteration_based_run_are_those_of_its_images(tmp_path):
    cfg = loader(tmp_path)
    assert str(ending(cfg, None, 38)) == 'off for the last 38 epochs'
    with pytest.raises(TrickError, match=r'^tricks.x.off_epochs must be below the 38.46 epochs of '
                                         r'the run \(500 iterations, 13 an epoch\), got 39$'):
        ending(cfg, None, 39)
    with planned_for(2):  # mmengine counts 13 batches of an InfiniteSampler in each process
        assert ending(cfg, None, 38).epochs == 38
        halved = loader(tmp_path, sampler=dict(type='DefaultSampler'))
        assert ending(halved, None, 71).epochs == 71  # 103 images: 7 batches
        with pytest.raises(TrickError, match='below the 71.43 epochs'):
            ending(halved, None, 72)
    with pytest.raises(TrickError, match='below the 41.67 epochs'):
        ending(loader(tmp_path, drop_last=True), None, 42)
    with planned_for(2):  # 5 batches of each: 160 samples, all of which InfiniteSampler counts
        limited = loader(tmp_path, num_batch_per_epoch=5)
        assert ending(limited, None, 49).epochs == 49
        with pytest.raises(TrickError, match=r'below the 50 epochs of .* \(500 iterations, 10 an'):
            ending(limited, None, 50)
        of_its_own = loader(tmp_path, num_batch_per_epoch=5, sampler=dict(type='DefaultSampler'))
        assert ending(of_its_own, None, 99).epochs == 99
    filtered = loader(tmp_path)
    filtered['train_dataloader']['dataset']['filter_cfg'] = dict(min_size=32)
    assert str(ending(filtered, None, 38)) == 'off for the last 38 epochs'
    assert str(ending(filtered, None, 39)) == (
        'off for the last 39 epochs (not checked to be fewer than those of the run: images may be '
        'filtered out, and an epoch is shorter than 13 iterations then)')
    with pytest.raises(TrickError, match='below the 38.46 epochs'):  # 77 of 13 are 1001 of 500
        ending(filtered, None, 77)


@pytest.mark.parametrize(('own', 'why'), [
    (dict(sampler=dict(type='MultiDataSampler')),
     'how many samples MultiDataSampler draws in an epoch is not known'),
    (dict(dataset=dict(type='CocoDataset', ann_file='none.json')), 'none.json is not here')])
def test_epochs_that_cannot_be_compared_with_the_run_are_said(own, why, tmp_path):
    found = ending(loader(tmp_path, **own), None, 900)
    assert str(found) == ('off for the last 900 epochs (not checked to be fewer than those of the '
                          f'run: {why})')


@pytest.mark.parametrize(('cfg', 'switch', 'said'), [
    (EPOCHS, None, False), (EPOCHS, ('custom_hooks[0]', 22), False),
    (EPOCHS, ('custom_hooks[0]', 21), True), ({}, ('custom_hooks[0]', 21), False)])
def test_a_hook_that_ends_it_first_is_named(cfg, switch, said):
    assert ending(cfg).replaced(switch, 'mosaics') == said * (
        'off from epoch 21, counted from 0, as custom_hooks[0] puts a pipeline without mosaics in '
        'place')
