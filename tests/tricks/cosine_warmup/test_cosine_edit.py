from __future__ import annotations

import copy

import pytest

pytest.importorskip('mmdet')
from mmengine.config import Config  # noqa: E402

from tricks_plugin.mm.config_edit import plain  # noqa: E402
from tricks_plugin.plan.errors import TrickError  # noqa: E402
from tricks_plugin.tricks.cosine_warmup.trick import CosineWarmup  # noqa: E402

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
    assert verdict.evidence == {'warmup_iters': 500, 'eta_min': 0.0, 'fit_warmup': True,
                                'optimizers': None}


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
    assert verdict.evidence['optimizers'] == ['d']
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
