from __future__ import annotations

import copy
import json

import pytest

pytest.importorskip('mmdet')
import torch  # noqa: E402
from mmengine.config import Config  # noqa: E402

from tricks_plugin.mm.config_edit import plain  # noqa: E402
from tricks_plugin.plan.errors import TrickError  # noqa: E402
from tricks_plugin.tricks.cosine_warmup import CosineWarmup  # noqa: E402
from tricks_plugin.tricks.cosine_warmup.scheduler import WarmupCosineLR  # noqa: E402

TYPE = 'tricks_plugin.WarmupCosineLR'
SGD = {'optimizer': {'type': 'SGD', 'lr': 0.02}}


def epochs(count, *schedulers, **more):
    return {'optim_wrapper': copy.deepcopy(SGD), 'param_scheduler': list(schedulers),
            'train_cfg': {'type': 'EpochBasedTrainLoop', 'max_epochs': count}, **more}


def iterations(count, *schedulers):
    return {**epochs(1, *schedulers), 'train_cfg': {'type': 'IterBasedTrainLoop',
                                                    'max_iters': count}}


def apply(cfg, **params):
    """Applies the trick, checks that a second time changes nothing, and returns the verdict."""
    verdict = CosineWarmup.from_dict(params).apply(cfg)
    if verdict.status == 'applied':
        once = copy.deepcopy(cfg)
        assert CosineWarmup.from_dict(params).apply(cfg).status == 'present'
        assert cfg == once
    return verdict


def test_faster_rcnn_keeps_its_own_warm_up_of_500_iterations(zoo):
    cfg = plain(Config.fromfile(zoo / 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'))
    verdict = apply(cfg)
    assert verdict.reason == ("warm-up of 500 iterations from 0 (the config's own length), "
                              'then cosine to 0 over 12 epochs')
    assert cfg['param_scheduler'] == [{
        'type': TYPE, 'warmup_iters': 500, 'by_epoch': True, 'convert_to_iter_based': True,
        'fit_warmup': True, 'eta_min': 0.0}]
    assert verdict.promise == {}


@pytest.mark.parametrize(('params', 'words'), [
    ({'flat_fraction': 0.7}, 'flat_fraction=0.7 is not used'),
    ({'flat_fraction': 0.5, 'warmup_epochs': 2}, 'warmup_epochs=2 and flat_fraction=0.5 are not '
                                                 'used'),
    ({'flat_fraction': 0.0}, ''),
    ({'eta_min': 0.0005}, ''),  # the config's own floor
    ({'eta_min': 0.001}, 'eta_min=0.001 is not used'),
    ({'eta_min': 0.0}, 'eta_min=0 is not used'),
])
def test_what_is_set_beside_the_configs_own_cosine_is_not_lost(params, words):
    cfg = epochs(40, {'type': 'LinearLR', 'start_factor': 0.1, 'by_epoch': True, 'end': 3},
                 {'type': 'CosineAnnealingLR', 'eta_min': 0.0005, 'begin': 3, 'end': 40})
    verdict = apply(cfg, **params)
    assert (verdict.status, verdict.reason) == ('present', (
        'the config has warm-up (LinearLR) and cosine (CosineAnnealingLR) already' + (
            f'; {words}: tricks.cosine_warmup.replace=True puts this schedule in its place'
            if words else '')))


def test_a_flat_part_goes_into_the_scheduler_and_1_is_refused():
    cfg = epochs(40)
    verdict = apply(cfg, flat_fraction=0.5)
    assert cfg['param_scheduler'][0]['flat_fraction'] == 0.5
    assert verdict.reason == ('warm-up of 2 epochs from 0 (the config has none of its own), then '
                              'flat for 0.5 of the rest, then cosine to 0 over 40 epochs')
    with pytest.raises(TrickError, match='cosine_warmup.flat_fraction must be < 1, got 1'):
        CosineWarmup.from_dict({'flat_fraction': 1})
    with pytest.raises(TrickError, match='flat_fraction must be 0 under timm, .* got 0.5'):
        CosineWarmup.from_dict({'flat_fraction': 0.5}).timm_args({'epochs': 10})


def test_detr_has_no_warm_up_and_a_scheduler_that_is_no_list(zoo):
    cfg = plain(Config.fromfile(zoo / 'detr/detr_r50_8xb2-150e_coco.py'))
    assert apply(cfg).status == 'applied'
    assert cfg['param_scheduler'] == [{
        'type': TYPE, 'warmup_epochs': 5, 'by_epoch': True, 'convert_to_iter_based': True,
        'eta_min': 0.0}]


@pytest.mark.parametrize(('name', 'ramp'), [
    ('yolox/yolox_s_8xb8-300e_coco.py', 'QuadraticWarmupLR'),
    ('rtmdet/rtmdet_s_8xb32-300e_coco.py', 'LinearLR'),
])
def test_a_config_with_warm_up_and_cosine_is_left_alone_unless_asked(zoo, name, ramp):
    cfg = plain(Config.fromfile(zoo / name))
    before = copy.deepcopy(cfg)
    verdict = apply(cfg)
    assert verdict.status == 'present'
    assert ramp in verdict.reason and 'CosineAnnealingLR' in verdict.reason
    assert cfg == before
    assert apply(cfg, replace=True).status == 'applied'
    assert [item['type'] for item in cfg['param_scheduler']] == [TYPE]


@pytest.mark.parametrize(('cfg', 'length'), [
    (epochs(12), {'warmup_epochs': 0.6}),
    (epochs(300), {'warmup_epochs': 5}),
    (iterations(90000), {'warmup_iters': 4500}),
    (epochs(40, {'type': 'LinearLR', 'end': 3}), {'warmup_epochs': 3}),
    (epochs(40, {'type': 'LinearLR', 'start_factor': 1.0, 'end_factor': 0.1, 'end': 30}),
     {'warmup_epochs': 2.0}),
    (epochs(40, {'type': 'LinearLR', 'begin': 4, 'end': 8}), {'warmup_epochs': 2.0}),
    (epochs(40, {'type': 'ConstantLR', 'factor': 0.1, 'end': 700, 'by_epoch': False}),
     {'warmup_iters': 700}),
    (epochs(8, {'type': 'LinearLR', 'end': 5}), {'warmup_epochs': 0.8}),
    (iterations(520, {'type': 'LinearLR', 'end': 1000, 'by_epoch': False}), {'warmup_iters': 52}),
])
def test_the_warm_up_is_the_configs_own_where_it_fits_and_a_share_of_the_run_elsewhere(cfg, length):
    assert apply(cfg).status == 'applied'
    node = cfg['param_scheduler'][0]
    assert {key: node[key] for key in node if key.startswith('warmup_')} == length


def test_a_shortened_warm_up_is_said_in_the_reason():
    verdict = apply(iterations(520, {'type': 'LinearLR', 'end': 1000, 'by_epoch': False}))
    assert verdict.reason == (
        "warm-up of 52 iterations from 0, a tenth of the run (the config's own 1000 iterations "
        'would fill more than half of it), then cosine to 0 over 520 iterations')


def test_an_iteration_based_run_takes_a_warm_up_in_epochs():
    cfg = iterations(9000)
    assert apply(cfg, warmup_epochs=1.5).status == 'applied'
    assert cfg['param_scheduler'] == [{
        'type': TYPE, 'warmup_epochs': 1.5, 'by_epoch': True, 'convert_to_iter_based': True,
        'total_iters': 9000, 'eta_min': 0.0}]


@pytest.mark.parametrize(('count', 'length', 'words'), [
    (1, 0.1, 'warm-up of 0.1 epochs from 0, a tenth of the run (1 epoch would fill half of it or '
             'more)'),
    (2, 0.2, 'warm-up of 0.2 epochs from 0, a tenth'),
    (3, 1.0, 'warm-up of 1 epoch from 0, then cosine'),
])
def test_advice_of_an_epoch_is_a_tenth_of_a_run_of_which_it_would_be_half(count, length, words):
    cfg = epochs(count, {'type': 'LinearLR', 'end': 500, 'by_epoch': False})
    assert words in apply(cfg, fitted_epochs=1.0).reason
    assert cfg['param_scheduler'][0]['warmup_epochs'] == pytest.approx(length)
    both = epochs(count)
    apply(both, fitted_epochs=1.0, warmup_epochs=0.5)
    assert both['param_scheduler'][0]['warmup_epochs'] == 0.5


def short_of_an_epoch(root, count, filters=False):
    """A run of so many iterations, 20 of which are an epoch of 40 images."""
    (root / 'train.json').write_text(json.dumps({'images': [{'id': n} for n in range(40)]}))
    cfg = iterations(count)
    cfg['train_dataloader'] = dict(batch_size=2, sampler=dict(type='InfiniteSampler'), dataset=dict(
        type='CocoDataset', data_root=str(root), ann_file='train.json',
        **({'filter_cfg': {'min_size': 32}} if filters else {})))
    return cfg


@pytest.mark.parametrize(('count', 'filters', 'words', 'warmup'), [
    (24, False, 'warm-up of 2 iterations from 0, a tenth of the run (1 epoch would fill more than '
                'half of it, by the annotation files), then', 2),
    (15, True, 'warm-up of 2 iterations from 0, a tenth of the run (1 epoch', 2),
    (24, True, 'warm-up of 1 epoch from 0, or of a tenth of the run where that is more than half '
               'of it, as images may be filtered out, then', 2),
    (40, False, 'warm-up of 1 epoch from 0, then', 20),
])
def test_advice_of_an_epoch_fits_a_run_shorter_than_an_epoch(tmp_path, count, filters, words,
                                                            warmup):
    cfg = short_of_an_epoch(tmp_path, count, filters)
    assert apply(cfg, fitted_epochs=1.0).reason.startswith(words)
    node = dict(cfg['param_scheduler'][0])
    assert (node.pop('type'), node.pop('convert_to_iter_based')) == (TYPE, True)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.02)
    assert WarmupCosineLR.build_iter_from_epoch(
        optimizer, epoch_length=20, **node).warmup_iters == warmup


def test_advice_of_an_epoch_of_unknown_length_says_both():
    assert apply(iterations(9000), fitted_epochs=1.0).reason.startswith(
        'warm-up of 1 epoch from 0, or of a tenth of the run where that is more than half of it '
        '(train_dataloader names no batch_size), then cosine')


@pytest.mark.parametrize(('length', 'count', 'filters', 'message'), [
    (1.0, 20, False, r'warmup_epochs must be less than the run of 20 iterations \(20 iterations an '
                     r'epoch, by the annotation files\), got 1.0'),
    (1.0, 21, False, ''),
    (1.0, 11, True, ''),  # half of the images may be left out
    (1.0, 10, True, 'warmup_epochs must be less than the run of 10 iterations'),
])
def test_a_warm_up_in_epochs_of_the_users_own_must_be_below_the_iterations(
        tmp_path, length, count, filters, message):
    cfg = short_of_an_epoch(tmp_path, count, filters)
    if not message:
        assert apply(cfg, warmup_epochs=length).status == 'applied'
        return
    with pytest.raises(TrickError, match=message):
        apply(cfg, warmup_epochs=length)


def test_a_warm_up_in_iterations_must_be_below_the_epochs_and_the_configs_own_is_cut(tmp_path):
    cfg = {**short_of_an_epoch(tmp_path, 1), **epochs(
        2, {'type': 'LinearLR', 'end': 30, 'by_epoch': False})}
    with pytest.raises(TrickError, match='warmup_iters must be less than the run of 2 epochs '):
        apply(copy.deepcopy(cfg), warmup_iters=40)
    assert apply(copy.deepcopy(cfg), warmup_iters=39).status == 'applied'
    # 30 of 40 iterations
    assert apply(cfg).reason.startswith(
        "warm-up of 0.2 epochs from 0, a tenth of the run (the config's own 30 iterations would "
        'fill more than half of it, by the annotation files), then')


def test_schedulers_of_momentum_stay():
    momentum = {'type': 'CosineAnnealingMomentum', 'T_max': 9, 'eta_min': 0.8}
    cfg = epochs(12, {'type': 'MultiStepLR', 'milestones': [8]}, momentum)
    assert apply(cfg, warmup_epochs=1).status == 'applied'
    assert [item['type'] for item in cfg['param_scheduler']] == [TYPE, 'CosineAnnealingMomentum']


def test_each_optimizer_with_schedulers_of_its_own_is_judged_alone():
    cosine = [{'type': 'LinearLR', 'end': 2}, {'type': 'CosineAnnealingLR', 'T_max': 10}]
    cfg = {**epochs(12), 'param_scheduler': {'g': list(cosine), 'd': {'type': 'StepLR'}},
           'optim_wrapper': {'g': copy.deepcopy(SGD), 'd': copy.deepcopy(SGD),
                             'constructor': 'Mine'}}
    verdict = apply(cfg)
    assert verdict.promise['optimizers'] == ['d']
    assert cfg['param_scheduler']['g'] == cosine
    assert [item['type'] for item in cfg['param_scheduler']['d']] == [TYPE]


@pytest.mark.parametrize(('cfg', 'reason'), [
    ({}, 'no optimizer'),
    ({'optim_wrapper': SGD}, 'does not say how long'),
    ({**epochs(3), 'param_scheduler': 'cosine'}, 'a form that is not known'),
    ({**epochs(3), 'param_scheduler': [None]}, 'a form that is not known'),
])
def test_a_config_without_the_parts_is_not_applicable(cfg, reason):
    verdict = apply(cfg)
    assert (verdict.status, reason in verdict.reason) == ('not_applicable', True)


@pytest.mark.parametrize(('params', 'message'), [
    ({'warmup_epochs': 2, 'warmup_iters': 9}, r'exclude each other, got 2 and 9'),
    ({'warmup_epochs': 12}, r'tricks.cosine_warmup.warmup_epochs must be less than the run of 12 '
                            r'epochs, got 12'),
    ({'eta_min': 0.1}, r'tricks.cosine_warmup.eta_min must be <= optim_wrapper.optimizer.lr '
                       r'\(0.02\), got 0.1'),
    ({'eta_min': -0.1}, r'eta_min must be >= 0, got -0.1'),
    ({'warmup_iters': 2.5}, r'warmup_iters must be of type'),
])
def test_a_wrong_parameter_is_an_error_with_its_path(params, message):
    with pytest.raises(TrickError, match=message):
        apply(epochs(12), **params)


def test_timm_gets_its_warm_up_in_front_of_a_shorter_cosine():
    trick = CosineWarmup.from_dict({'warmup_epochs': 4, 'eta_min': 1e-5})
    assert trick.timm_args({'epochs': 50}) == {
        'sched': 'cosine', 'sched_on_updates': True, 'warmup_lr': 0.0, 'warmup_epochs': 4,
        'warmup_prefix': True, 'epochs': 46, 'min_lr': 1e-5, 'cooldown_epochs': 0}
    assert CosineWarmup.from_dict({'warmup_iters': 9}).timm_args({'epochs': 50}) == \
        'timm counts a warm-up in epochs: give cosine_warmup.warmup_epochs'


@pytest.mark.parametrize('epochs, warmup', [(300, 1), (3, 1), (2, 0), (1, 0)])
def test_timm_takes_whole_epochs_of_an_advice(epochs, warmup):
    trick = CosineWarmup.from_dict({'fitted_epochs': 1.0})
    args = trick.timm_args({'epochs': epochs})
    assert (args['warmup_epochs'], args['epochs']) == (warmup, epochs - warmup)
    note = trick.timm_note({'epochs': epochs, 'warmup_epochs': 5}, args)
    assert note == (f'1 + {epochs - 1} epochs = the {epochs} asked for' if warmup else
                    f'no warm-up: 1 of the {epochs} epochs would be half of the run or more')


@pytest.mark.parametrize('epochs, warmup', [
    (300, 5), (100, 5), (99, 4), (50, 2), (19, 1), (2, 1), (1, 0)])
def test_timm_s_warm_up_is_a_twentieth_of_the_run_up_to_five_epochs(epochs, warmup):
    args = CosineWarmup.from_dict({}).timm_args({'epochs': epochs})
    assert (args['warmup_epochs'], args['epochs']) == (warmup, epochs - warmup)


def test_timm_s_warm_up_of_the_user_s_goes_into_the_arithmetic():
    trick = CosineWarmup.from_dict({'warmup_epochs': 4})
    settings = {'epochs': 50, 'warmup_epochs': 7}
    args = trick.timm_args(settings, {'warmup_epochs'})
    assert (args['warmup_epochs'], args['epochs']) == (7, 43)
    assert trick.timm_args(settings)['epochs'] == 46
    prefixed = trick.timm_args({**settings, 'warmup_prefix': True}, {'warmup_prefix'})
    assert prefixed['warmup_epochs'] == 4 and 'epochs' not in prefixed


@pytest.mark.parametrize('params, given, words', [
    ({'warmup_epochs': 2.5}, (), 'tricks.cosine_warmup.warmup_epochs must be a whole number of '
                                 'epochs for timm, got 2.5'),
    ({'warmup_epochs': 9}, (), r'cosine_warmup.warmup_epochs must be less than epochs \(9\)'),
    ({}, ('warmup_epochs',), r'--warmup-epochs must be less than epochs \(9\), got 30'),
])
def test_timm_s_warm_up_must_fit_the_run(params, given, words):
    with pytest.raises(TrickError, match=words):
        CosineWarmup.from_dict(params).timm_args({'epochs': 9, 'warmup_epochs': 30}, given)


FLOORED = {'type': 'CosineAnnealingLR', 'T_max': 12, 'eta_min': 0.0004}


@pytest.mark.parametrize(('own', 'params', 'ends', 'words'), [
    (FLOORED, {}, {'eta_min': 0.0004}, "cosine to 0.0004 (the config's own eta_min)"),
    ({**FLOORED, 'type': 'PolyLR'}, {}, {'eta_min': 0.0004}, "the config's own eta_min"),
    ({'type': 'ReduceOnPlateauLR', 'min_value': 3e-5}, {}, {'eta_min': 3e-5}, 'to 3e-05'),
    ({'type': 'CosineAnnealingLR', 'eta_min_ratio': 0.05}, {}, {'eta_min_ratio': 0.05},
     "cosine to 0.05 of the base LR (the config's own eta_min_ratio)"),
    (FLOORED, {'eta_min': 0.001}, {'eta_min': 0.001},
     "cosine to 0.001 (the config's own eta_min 0.0004 gives way)"),
    (FLOORED, {'eta_min': 0.0}, {'eta_min': 0.0}, 'cosine to 0 (the config'),
    ({'type': 'StepLR', 'step_size': 4}, {}, {'eta_min': 0.0}, 'cosine to 0 over'),
])
def test_the_configs_own_lowest_rate_stays_unless_another_is_given(own, params, ends, words):
    cfg = epochs(12, own)
    verdict = apply(cfg, **params)
    node = cfg['param_scheduler'][0]
    assert {key: node[key] for key in node if key.startswith('eta_')} == ends
    assert words in verdict.reason


def slow(**paramwise):
    cfg = epochs(12, {'type': 'StepLR', 'step_size': 4})
    constructor = paramwise.pop('constructor', None)
    cfg['optim_wrapper']['paramwise_cfg'] = paramwise
    if constructor:
        cfg['optim_wrapper']['constructor'] = constructor
    return cfg


@pytest.mark.parametrize(('paramwise', 'group', 'lr'), [
    (dict(custom_keys={'backbone': {'lr_mult': 0.1}}), 'custom_keys.backbone', 0.002),
    (dict(custom_keys={'backbone': {'lr': 0.003, 'lr_mult': 2}}), 'custom_keys.backbone', 0.003),
    (dict(custom_keys={'a': {'lr_mult': 0.1}, 'b': {'lr_mult': 0.0}}), 'custom_keys.b', 0.0),
    (dict(bias_lr_mult=0.2), 'bias_lr_mult', 0.004),
    (dict(norm_lr_mult=0.2), 'norm_lr_mult', 0.004),
    (dict(decay_rate=0.5, num_layers=2,
          constructor='LearningRateDecayOptimizerConstructor'), 'decay_rate over 2', 0.0025),
])
def test_an_eta_min_above_a_slow_groups_rate_is_refused_with_the_group_named(paramwise, group, lr):
    with pytest.raises(TrickError) as error:
        apply(slow(**paramwise), eta_min=0.005)
    assert str(error.value).startswith('tricks.cosine_warmup.eta_min must be <= the LR of '
                                       f'optim_wrapper.paramwise_cfg.{group}')
    assert f'({lr!r}), got 0.005' in str(error.value)
    assert apply(slow(**paramwise), eta_min=lr).status == 'applied'


def test_an_offset_multiplier_counts_where_the_model_has_deformable_convolutions():
    cfg = slow(dcn_offset_lr_mult=0.1)
    assert apply(copy.deepcopy(cfg), eta_min=0.005).status == 'applied'
    cfg['model'] = {'backbone': {'dcn': {'type': 'DCNv2'}}}
    with pytest.raises(TrickError, match='paramwise_cfg.dcn_offset_lr_mult'):
        apply(cfg, eta_min=0.005)


def test_the_configs_own_floor_above_a_slow_groups_rate_is_no_error_and_is_said():
    cfg = slow(custom_keys={'backbone': {'lr_mult': 0.1}})
    cfg['param_scheduler'] = [{**FLOORED, 'eta_min': 0.003}]
    verdict = apply(cfg)
    assert cfg['param_scheduler'][0]['eta_min'] == 0.0
    assert ("cosine to 0 (the config's own 0.003 is above the LR 0.002 of optim_wrapper."
            'paramwise_cfg.custom_keys.backbone)') in verdict.reason


def test_mmengines_own_scaling_counts_in_the_bound():
    cfg = epochs(12, {'type': 'StepLR'}, train_dataloader={'batch_size': 2},
                 auto_scale_lr={'enable': True, 'base_batch_size': 16})
    with pytest.raises(TrickError, match=r'optimizer.lr \(0.0025\), got 0.003'):
        apply(cfg, eta_min=0.003)


def test_one_cycle_is_replaced_with_a_word_on_its_peak():
    cfg = epochs(12, {'type': 'OneCycleLR', 'eta_max': 0.3})
    assert apply(copy.deepcopy(cfg)).status == 'present'
    assert "no longer OneCycleLR's eta_max" in apply(cfg, replace=True).reason


def test_timm_refuses_an_eta_min_above_the_runs_rate():
    settings = dict(epochs=50, lr=None, lr_base=0.1, lr_base_size=256, batch_size=64,
                    grad_accum_steps=1, opt='sgd')
    trick = CosineWarmup.from_dict({'eta_min': 0.03})
    with pytest.raises(TrickError, match=r'eta_min must be <= the LR of the run \(0.025\)'):
        trick.timm_args(settings)
    # The root of a quarter is a half: 0.05.
    assert trick.timm_args({**settings, 'opt': 'adamw'})['min_lr'] == 0.03
    assert trick.timm_args({**settings, 'lr': 0.03})['min_lr'] == 0.03


RAMP = {'type': 'LinearLR', 'start_factor': 0.001, 'by_epoch': False, 'begin': 0, 'end': 1000}


def cosine(begin, end, span=None, by_epoch=True):
    item = {'type': 'CosineAnnealingLR', 'eta_min': 1e-4, 'begin': begin, 'end': end,
            'by_epoch': by_epoch}
    return item if span is None else {**item, 'T_max': span}


@pytest.mark.parametrize(('run', 'schedule', 'words'), [
    # RTMDet's and YOLOX's schedules of 300 epochs, as they are, and in a run that was cut short
    (epochs(300), [RAMP, cosine(150, 300, 150)], ''),
    (epochs(10), [RAMP, cosine(150, 300, 150)],
     "the config's own CosineAnnealingLR ends at epoch 300, and the run has 10 epochs"),
    (epochs(300), [RAMP, cosine(5, 285, 285)], ''),
    (epochs(12), [RAMP, cosine(5, 285, 285)],
     "the config's own CosineAnnealingLR ends at epoch 290, and the run has 12 epochs"),
    # cut off by its own end, at a tenth of its descent, and after the run without an end
    (epochs(30), [RAMP, cosine(0, 30, 300)],
     "the config's own CosineAnnealingLR ends at epoch 300, and the run has 30 epochs"),
    (epochs(1), [RAMP, {'type': 'CosineAnnealingLR', 'T_max': 150, 'begin': 150}],
     "the config's own CosineAnnealingLR ends at epoch 300, and the run has 1 epoch"),
    (iterations(100), [RAMP, {'type': 'CosineAnnealingLR', 'T_max': 10}],
     "the config's own CosineAnnealingLR counts epochs, and a run of iterations never steps it"),
    (epochs(20), [RAMP, cosine(1, 21, 20)], ''),  # T_max of the whole run after a warm-up
    (epochs(20), [RAMP, cosine(20, 20.5)],
     "the config's own CosineAnnealingLR ends at epoch 20.5, and the run has 20 epochs"),
    (iterations(1000), [RAMP, cosine(0, 90000, by_epoch=False)],
     "the config's own CosineAnnealingLR ends at iteration 90000, and the run has 1000 iterations"),
    (epochs(20), [RAMP, {'type': 'CosineAnnealingLR', 'T_max': 10}], ''),  # ends before it
    (epochs(20), [RAMP, {'type': 'CosineAnnealingLR', 'T_max': 40}],
     "the config's own CosineAnnealingLR ends at epoch 40, and the run has 20 epochs"),
    (epochs(20), [RAMP, {'type': 'OneCycleLR', 'eta_max': 0.1, 'total_steps': 100}],
     "the config's own OneCycleLR ends at epoch 100, and the run has 20 epochs"),
    # 20 epochs of iterations that nobody can count: nothing is said of it
    (epochs(20), [RAMP, cosine(0, 90000, by_epoch=False)], '')])
def test_a_cosine_that_a_shortened_run_never_ends_is_no_cosine(run, schedule, words):
    cfg = {**copy.deepcopy(run), 'param_scheduler': copy.deepcopy(schedule)}
    verdict = CosineWarmup.from_dict({}).apply(cfg)
    assert verdict.status == ('applied' if words else 'present')
    if words:
        assert words in verdict.reason
        assert [item['type'] for item in cfg['param_scheduler']] == [TYPE]


def test_a_cosine_in_iterations_is_compared_by_the_annotation_files(tmp_path):
    (tmp_path / 'train.json').write_text(json.dumps({
        'images': [{'id': number, 'file_name': f'{number}.jpg', 'height': 9, 'width': 9}
                   for number in range(40)], 'annotations': [], 'categories': []}))
    loader = {'batch_size': 4, 'dataset': {
        'type': 'CocoDataset', 'ann_file': 'train.json', 'data_root': str(tmp_path)}}

    def status(cfg):
        return CosineWarmup.from_dict({}).apply({**cfg, 'train_dataloader': loader}).status

    for end, expected in ((200, 'present'), (222, 'present'), (230, 'applied')):
        # 20 epochs of 10 iterations take a cosine of 222 to 0.9 of its descent
        assert status(epochs(20, dict(RAMP), cosine(0, end, by_epoch=False))) == expected
    late = dict(cosine(0, 20), convert_to_iter_based=True)
    assert status(iterations(200, dict(RAMP), dict(late))) == 'present'
    assert status(iterations(100, dict(RAMP), dict(late))) == 'applied'
    # Where images without boxes are left out, 100 iterations may well be 20 epochs of 5.
    loader['dataset']['filter_cfg'] = {'filter_empty_gt': True}
    assert status(iterations(100, dict(RAMP), dict(late))) == 'present'
    assert status(iterations(80, dict(RAMP), dict(late))) == 'applied'


def test_annotation_files_are_read_for_a_cosine_in_the_other_unit_alone():
    from tricks_plugin.mm.config_edit import run_length
    from tricks_plugin.tricks.cosine_warmup.own import unfinished
    asked = []

    def count():
        asked.append(1)
        return 10, False

    run = run_length(epochs(20))
    assert unfinished([RAMP, cosine(0, 20)], 'mmdet', run, count) == '' and not asked
    assert unfinished([RAMP, cosine(0, 200, by_epoch=False)], 'mmdet', run, count) == ''
    assert len(asked) == 1
