from __future__ import annotations

import copy

import pytest

pytest.importorskip('mmdet')
from mmengine.config import Config  # noqa: E402

from tricks_plugin.common.processes import world_size  # noqa: E402
from tricks_plugin.mm.config_edit import plain  # noqa: E402
from tricks_plugin.plan.errors import TrickError  # noqa: E402
from tricks_plugin.tricks.linear_lr import LinearScaling  # noqa: E402


def config(batch=4, lr=0.02, base=16, accumulation=None, **more):
    wrapper = {'optimizer': {'type': 'SGD', 'lr': lr}}
    if accumulation:
        wrapper['accumulative_counts'] = accumulation
    cfg = {'optim_wrapper': wrapper, 'train_dataloader': {'batch_size': batch},
           'auto_scale_lr': {'enable': False, 'base_batch_size': base}, **more}
    return cfg if base else {key: cfg[key] for key in cfg if key != 'auto_scale_lr'}


def apply(cfg, **params):
    """Applies the trick, checks that a second time changes nothing, and returns the verdict."""
    verdict = LinearScaling.from_dict(params).apply(cfg)
    if verdict.status == 'applied':
        once = copy.deepcopy(cfg)
        assert LinearScaling.from_dict(params).apply(cfg).status == 'present'
        assert cfg == once
    return verdict


def test_faster_rcnn_for_8_gpus_is_scaled_to_one(zoo):
    cfg = plain(Config.fromfile(zoo / 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'))
    verdict = apply(cfg)
    assert cfg['optim_wrapper']['optimizer']['lr'] == pytest.approx(0.0025)
    assert verdict.reason == (
        'lr 0.02 x 2/16 = 0.0025 (2 images x 1 process x 1 accumulation); 16 is auto_scale_lr.'
        'base_batch_size: an lr that is for 2 images already needs '
        'tricks.linear_lr.base_batch_size=2')
    assert verdict.promise == {}
    assert cfg['auto_scale_lr'] == {'enable': False, 'base_batch_size': 2}


def test_yolox_takes_its_schedules_absolute_floor_along(zoo):
    cfg = plain(Config.fromfile(zoo / 'yolox/yolox_s_8xb8-300e_coco.py'))
    cosine = cfg['param_scheduler'][1]
    assert (cosine['type'], cosine['eta_min']) == ('CosineAnnealingLR', 0.0005)
    assert apply(cfg).status == 'applied'
    assert cfg['optim_wrapper']['optimizer']['lr'] == pytest.approx(0.01 * 8 / 64)
    assert cosine['eta_min'] == pytest.approx(0.0000625)


def test_adamw_gets_a_word_of_warning(zoo):
    cfg = plain(Config.fromfile(zoo / 'swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py'))
    assert apply(cfg).reason.endswith('; the rule was derived for SGD, not for AdamW')


def test_accumulated_iterations_count():
    cfg = config(batch=2, lr=0.001, base=64, accumulation=6)
    verdict = apply(cfg)
    assert cfg['optim_wrapper']['optimizer']['lr'] == pytest.approx(0.0001875)
    assert '2 images x 1 process x 6 accumulation' in verdict.reason


@pytest.mark.parametrize(('launcher', 'variable', 'world', 'lr'), [
    ('pytorch', 'WORLD_SIZE', '5', 0.025), ('slurm', 'SLURM_NTASKS', '3', 0.015),
    ('mpi', 'OMPI_COMM_WORLD_SIZE', '2', 0.01), ('none', 'WORLD_SIZE', '5', 0.005),
    (None, 'WORLD_SIZE', '5', 0.005), ('pytorch', 'WORLD_SIZE', 'many', 0.005),
])
def test_the_number_of_processes_is_the_launchers(monkeypatch, launcher, variable, world, lr):
    monkeypatch.setenv(variable, world)
    cfg = config(launcher=launcher)
    assert apply(cfg).status == 'applied'
    assert cfg['optim_wrapper']['optimizer']['lr'] == pytest.approx(lr)


def test_the_process_group_outweighs_the_environment(monkeypatch, tmp_path):
    from torch import distributed
    if not distributed.is_available():
        pytest.skip('torch is built without distributed')
    monkeypatch.setenv('WORLD_SIZE', '5')
    distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/group', rank=0,
                                   world_size=1)
    try:
        assert world_size('pytorch') == 1
    finally:
        distributed.destroy_process_group()
    assert world_size('pytorch') == 5


def test_a_given_base_wins_over_the_configs():
    cfg = config(batch=4, base=16)
    apply(cfg, base_batch_size=10)
    assert cfg['optim_wrapper']['optimizer']['lr'] == pytest.approx(0.008)


def test_an_effective_config_on_other_hardware_is_scaled_from_what_its_lr_fits_now(monkeypatch):
    cfg = config(batch=4, lr=0.02, base=16, launcher='pytorch')
    monkeypatch.setenv('WORLD_SIZE', '1')
    apply(cfg, base_batch_size=16)
    monkeypatch.setenv('WORLD_SIZE', '6')
    verdict = apply(cfg, base_batch_size=16)
    assert 'lr 0.005 x 24/4 = 0.03' in verdict.reason
    assert cfg['optim_wrapper']['optimizer']['lr'] == pytest.approx(0.03)
    assert cfg['auto_scale_lr'] == {
        'enable': False, 'base_batch_size': 24, 'tricks_scaled_from': 16}


def test_mmengines_own_scaling_is_left_alone_where_it_is_right():
    cfg = config()
    cfg['auto_scale_lr']['enable'] = True
    verdict = apply(cfg)
    assert (verdict.status, '4/16' in verdict.reason) == ('present', True)


@pytest.mark.parametrize(('accumulation', 'batch', 'lr'), [(3, 4, 0.015), (8, 2, 0.02)])
def test_mmengines_own_scaling_is_replaced_where_it_forgets_accumulation(accumulation, batch, lr):
    cfg = config(batch=batch, accumulation=accumulation)
    cfg['auto_scale_lr']['enable'] = True
    verdict = apply(cfg)
    assert verdict.status == 'applied'
    assert 'auto_scale_lr is switched off' in verdict.reason
    assert cfg['auto_scale_lr'] == {'enable': False, 'base_batch_size': batch * accumulation}
    assert cfg['optim_wrapper']['optimizer']['lr'] == pytest.approx(lr)


def test_auto_scale_lr_switched_on_over_an_effective_config_does_not_scale_twice():
    cfg = config()
    apply(cfg)
    cfg['auto_scale_lr']['enable'] = True
    verdict = apply(cfg)
    assert (verdict.status, '4/4 itself' in verdict.reason) == ('present', True)
    assert cfg['optim_wrapper']['optimizer']['lr'] == pytest.approx(0.005)


def test_every_optimizer_and_every_absolute_lr_is_scaled():
    cfg = config(batch=4, base=16)
    cfg['optim_wrapper'] = {
        'constructor': 'Mine',
        'g': {'optimizer': {'type': 'SGD', 'lr': 0.02},
              'paramwise_cfg': {'custom_keys': {'stem': {'lr': 0.4, 'lr_mult': 0.1}}}},
        'd': {'optimizer': {'type': 'Adam', 'lr': 0.003}}}
    cfg['param_scheduler'] = {
        'g': [{'type': 'OneCycleLR', 'eta_max': 0.6}, {'type': 'CosineAnnealingMomentum',
                                                       'eta_min': 0.8}],
        'd': {'type': 'PolyLR', 'eta_min': 0.0008, 'eta_min_ratio': None}}
    verdict = apply(cfg)
    assert verdict.promise == {}
    assert cfg['optim_wrapper']['g']['optimizer']['lr'] == pytest.approx(0.005)
    assert cfg['optim_wrapper']['d']['optimizer']['lr'] == pytest.approx(0.00075)
    assert cfg['optim_wrapper']['g']['paramwise_cfg']['custom_keys']['stem'] == {
        'lr': pytest.approx(0.1), 'lr_mult': 0.1}
    one_cycle, momentum = cfg['param_scheduler']['g']
    assert (one_cycle['eta_max'], momentum['eta_min']) == (pytest.approx(0.15), 0.8)
    assert cfg['param_scheduler']['d']['eta_min'] == pytest.approx(0.0002)


@pytest.mark.parametrize(('cfg', 'status', 'words'), [
    ({}, 'not_applicable', 'no optimizer'),
    (config(base=None), 'not_applicable', 'set tricks.linear_lr.base_batch_size'),
    (config(batch='auto'), 'not_applicable', 'batch_size is not given as a number'),
    (config(lr=None), 'not_applicable', 'optim_wrapper.optimizer sets no lr'),
    (config(accumulation='2'), 'not_applicable', 'accumulative_counts is not a number'),
    (config(batch=16), 'present', 'the effective batch of 16 (16 images x 1 process x 1'),
])
def test_a_config_without_the_parts_keeps_its_lr(cfg, status, words):
    verdict = apply(cfg)
    assert verdict.status == status
    assert words in verdict.reason


def test_optimizers_that_accumulate_differently_have_no_one_effective_batch():
    cfg = config()
    cfg['optim_wrapper'] = {'g': {'optimizer': {'lr': 1}}, 'constructor': 'Mine',
                            'd': {'optimizer': {'lr': 1}, 'accumulative_counts': 5}}
    assert '(optim_wrapper.g 1, optim_wrapper.d 5)' in apply(cfg).reason


@pytest.mark.parametrize(('value', 'message'), [
    (0, r'tricks.linear_lr.base_batch_size must be > 0, got 0'),
    (2.5, r'tricks.linear_lr.base_batch_size must be of type'),
])
def test_a_wrong_base_is_an_error_with_its_path(value, message):
    with pytest.raises(TrickError, match=message):
        apply(config(), base_batch_size=value)


def test_timm_is_told_its_base():
    assert LinearScaling.from_dict({'base_batch_size': 512}).timm_args({'lr': 0.4}) == {
        'lr': None, 'lr_base_size': 512, 'lr_base': 0.4}


@pytest.mark.parametrize('args, expected', [
    ({}, {}),
    ({'opt': 'lamb'}, {'lr_base_scale': 'linear'}),
    ({'lr_base_scale': 'sqrt'}, {'lr_base_scale': 'linear'}),
    ({'lr': 0.4, 'opt': 'adamw'}, {'lr': 0.4}),
])
def test_timm_scales_linearly_or_is_told_to(args, expected):
    assert LinearScaling.from_dict({}).timm_args(args) == expected


def test_timm_s_row_shows_the_arithmetic(monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '8')
    settings = dict(lr=None, lr_base=0.1, lr_base_size=256, batch_size=64, grad_accum_steps=3)
    note = LinearScaling.from_dict({}).timm_note({}, settings)
    assert note == 'lr 0.1 x 1536/256 = 0.6 (64 images x 8 processes x 3 accumulation)'
    note = LinearScaling.from_dict({}).timm_note({}, dict(settings, opt='adamw'))
    assert note.endswith('the rule was derived for SGD, not for adamw')
    assert LinearScaling.from_dict({}).timm_note({}, dict(settings, lr=0.4)).startswith(
        '--lr 0.4 is yours and stands')


@pytest.mark.parametrize(('scheduler', 'path', 'scaled'), [
    ({'type': 'OneCycleLR', 'eta_max': 0.008, 'total_steps': 9}, 'eta_max', 0.002),
    ({'type': 'CosineAnnealingLR', 'eta_min': 0.0004}, 'eta_min', 0.0001),
    ({'type': 'CosineAnnealingParamScheduler', 'param_name': 'lr', 'eta_min': 0.0004}, 'eta_min',
     0.0001),
    ({'type': 'ReduceOnPlateauLR', 'min_value': [0.0004, 0.0]}, 'min_value', [0.0001, 0.0]),
    ({'type': 'tricks_plugin.WarmupCosineLR', 'warmup_iters': 3, 'eta_min': 0.0004}, 'eta_min',
     0.0001),
    ({'type': 'UnknownLR', 'warmup_lr': 0.0004}, 'warmup_lr', 0.0001),
])
@pytest.mark.parametrize('form', ['list', 'one', 'per optimizer'])
def test_an_absolute_rate_that_mmengine_would_leave_behind_is_scaled_here(
        scheduler, path, scaled, form):
    cfg = config()
    cfg['auto_scale_lr']['enable'] = True
    node = dict(scheduler)
    cfg['param_scheduler'] = {'list': [{'type': 'LinearLR', 'end': 3}, node], 'one': node,
                              'per optimizer': {'g': [node]}}[form]
    where = {'list': 'param_scheduler[1]', 'one': 'param_scheduler',
             'per optimizer': 'param_scheduler.g[0]'}[form]
    verdict = apply(cfg)
    assert verdict.status == 'applied'
    assert f'(it would leave {where}.{path} as it is)' in verdict.reason
    assert node[path] == pytest.approx(scaled)
    assert cfg['auto_scale_lr'] == {'enable': False, 'base_batch_size': 4}


def test_rates_that_are_shares_are_left_to_mmengines_own_scaling():
    cfg = config()
    cfg['auto_scale_lr']['enable'] = True
    cfg['param_scheduler'] = [
        {'type': 'LinearLR', 'start_factor': 0.1, 'end_factor': 1.0, 'end': 3},
        {'type': 'CosineAnnealingLR', 'eta_min': 0.0}, {'type': 'CosineAnnealingMomentum',
                                                        'eta_min': 0.8}]
    assert apply(cfg).status == 'present'


def test_a_named_batch_that_is_the_runs_own_is_recorded():
    cfg = config(batch=4, base=16)
    verdict = apply(cfg, base_batch_size=4)
    assert verdict.status == 'applied'
    assert cfg['optim_wrapper']['optimizer']['lr'] == 0.02
    assert cfg['auto_scale_lr']['base_batch_size'] == 4


def test_a_dumped_config_with_another_batch_is_scaled_from_what_its_lr_fits():
    cfg = config(batch=4, lr=0.02, base=16)
    cfg['param_scheduler'] = [{'type': 'CosineAnnealingLR', 'eta_min': 0.0008}]
    apply(cfg)
    cfg.pop('tricks_applied', None)
    cfg['train_dataloader']['batch_size'] = 12
    assert 'lr 0.005 x 12/4 = 0.015' in apply(cfg).reason
    assert cfg['optim_wrapper']['optimizer']['lr'] == pytest.approx(0.015)
    assert cfg['param_scheduler'][0]['eta_min'] == pytest.approx(0.0006)


def test_another_driver_of_the_rate_is_said_and_the_rate_not_judged():
    cfg = config(default_hooks={'param_scheduler': {'type': 'PPYOLOEParamSchedulerHook'}})
    verdict = apply(cfg)
    assert verdict.status == 'applied' and verdict.promise == {'rate': False}
    assert 'PPYOLOEParamSchedulerHook' in verdict.reason
