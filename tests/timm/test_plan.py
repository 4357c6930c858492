"""Tricks on timm's settings: what each sets, what is the user's and stands, and why not."""

from __future__ import annotations

import argparse
import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest

timm = pytest.importorskip('timm')
yaml = pytest.importorskip('yaml')

import torch  # noqa: E402
from timm.scheduler import create_scheduler_v2  # noqa: E402
from timm.scheduler.scheduler_factory import scheduler_kwargs  # noqa: E402

from tricks_plugin.plan.errors import TrickError  # noqa: E402
from tricks_plugin.timm.facts import facts, model_facts, total_epochs  # noqa: E402
from tricks_plugin.timm.plan import plan_tricks  # noqa: E402
from tricks_plugin.tricks.amp import device  # noqa: E402

RECIPES = Path(__file__).parents[2] / 'configs' / 'timm'
# The defaults of timm 1.0.31's script for every setting that a trick reads or sets.
DEFAULTS = dict(
    model='resnet50', pretrained=False, pretrained_path=None, initial_checkpoint='',
    num_classes=None, img_size=None, in_chans=None, input_size=None, model_kwargs={}, dataset='',
    batch_size=128, grad_accum_steps=1, device='cuda', amp=False, amp_dtype='float16',
    model_dtype=None, channels_last=False, pin_mem=False, torchscript=False, split_bn=False,
    sync_bn=False, opt='sgd', weight_decay=2e-5, opt_kwargs={}, sched='cosine',
    sched_on_updates=False, lr=None, lr_base=0.1, lr_base_size=256, lr_base_scale='',
    warmup_lr=1e-5, min_lr=0, epochs=300, decay_milestones=[90, 180, 270], decay_rate=0.1,
    warmup_epochs=5, warmup_prefix=False, cooldown_epochs=0, lr_cycle_mul=1.0, lr_cycle_limit=1,
    aug_splits=0, jsd_loss=False, bce_loss=False, bce_target_thresh=None, mixup=0.0, cutmix=0.0,
    cutmix_minmax=None, mixup_prob=1.0, mixup_switch_prob=0.5, mixup_off_epoch=0, smoothing=0.1,
    model_ema=False, model_ema_decay=0.9998, model_ema_warmup=False, use_multi_epochs_loader=False,
    train_img_sizes=None, train_batch_sizes=None)


@pytest.fixture(autouse=True)
def one_process(monkeypatch):
    """No launcher's variables from outside."""
    monkeypatch.delenv('WORLD_SIZE', raising=False)
    monkeypatch.delenv('SLURM_NTASKS', raising=False)


def plan(tricks, config='', **own):
    """Plans on the defaults on a CPU, with settings of the user's own."""
    args = argparse.Namespace(**copy.deepcopy({**DEFAULTS, 'device': 'cpu', **own}))
    return plan_tricks(args, set(own), tricks, config)


@pytest.fixture(autouse=True)
def _a_cpu_with_16_bit_units(monkeypatch):
    monkeypatch.setattr(device, '_instructions', lambda: frozenset({'avx512_bf16'}))


def row(tricks, **own):
    """The only row of a plan: status, reason, and what it changed."""
    _, found, _ = plan(tricks, **own)
    (only,) = found.tricks
    return only.status, only.reason, {c.path: c.after for c in only.changes}


def test_the_bag_on_timm_s_defaults():
    args, found, strict = plan('bag_of_tricks', config='mine.yaml')
    changed = {key: value for key, value in vars(args).items()
               if value != {**DEFAULTS, 'device': 'cpu'}[key]}
    assert changed == {
        'weight_decay': 1e-4, 'lr_base_scale': 'linear', 'epochs': 195,
        'sched_on_updates': True, 'warmup_lr': 0.0, 'warmup_prefix': True,
        'smoothing': pytest.approx(0.1 * 1000 / 999, rel=1e-12), 'mixup': 0.2,
        'amp': True, 'amp_dtype': 'bfloat16'}
    assert {one.name: one.status for one in found.tricks} == {
        'linear_lr': 'present', 'cosine_warmup': 'applied', 'no_bias_decay': 'present',
        'label_smoothing': 'applied', 'mixup': 'applied', 'random_shapes': 'held_back',
        'amp': 'applied', 'zero_gamma': 'present', 'finite_guard': 'present',
        'data_monitor': 'present'}
    assert all(one.reason for one in found.tricks if one.status != 'applied')
    assert strict is False
    printed = json.loads(json.dumps(found.to_dict()))
    assert printed['config'] == 'mine.yaml'
    assert printed['tricks'][6]['reason'].startswith(
        'no run of a classifier at random sizes is measured here; ')
    assert 'epochs: 300 -> 200' in found.table() and 'epochs: 200 -> 195' in found.table()


def rates(settings):
    """What timm's scheduler makes of settings: the LR of every epoch, or of each of 3 updates."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.4)
    scheduler, epochs = create_scheduler_v2(
        optimizer, **scheduler_kwargs(argparse.Namespace(**settings)), updates_per_epoch=3)
    found = [optimizer.param_groups[0]['lr']]
    for step in range(1, 3 * epochs):
        if settings['sched_on_updates']:
            scheduler.step_update(step)
        elif step % 3 == 0:
            scheduler.step(step // 3)
        found.append(optimizer.param_groups[0]['lr'])
    return found


@pytest.mark.parametrize('name, length', [('bag_of_tricks', 200), ('baseline_step', 120)])
def test_a_recipe_and_its_file_train_as_long_at_the_same_rates(name, length):
    settings = yaml.safe_load((RECIPES / f'{name}.yaml').read_text())
    args, _, _ = plan(name, epochs=length)
    expected = rates({**DEFAULTS, **settings})
    assert len(expected) == 3 * length
    assert rates(vars(args)) == pytest.approx(expected, abs=1e-12)
    if name == 'baseline_step':
        by_hand = [0.4] * 90 + [0.04] * 90 + [0.004] * 90 + [0.0004] * 90
        assert expected == pytest.approx(by_hand, abs=1e-12)


@pytest.mark.parametrize('name', ['bag_of_tricks', 'baseline_step'])
def test_a_recipe_beside_its_own_file_changes_nothing(name):
    settings = yaml.safe_load((RECIPES / f'{name}.yaml').read_text())
    own = {key: value for key, value in settings.items() if key in DEFAULTS}
    args, found, _ = plan(name, **own)
    assert vars(args) == {**DEFAULTS, 'device': 'cpu', **own}
    assert {one.status for one in found.tricks} <= {'present', 'not_applicable', 'held_back'}


def test_what_a_recipe_trains_with_beside_its_tricks_is_a_row_and_the_user_s_stands():
    _, found, _ = plan('bag_of_tricks', weight_decay=0.05, epochs=9)
    ground = found['bag_of_tricks']
    assert (ground.status, ground.reason) == (
        'applied', '--weight-decay 0.05 is yours and stands; --epochs 9 is yours and stands')
    assert [change.path for change in ground.changes] == ['lr_base_scale']
    assert plan('bag_of_tricks', opt='adamw')[0].weight_decay == 2e-5  # 1e-4 is chosen for SGD
    args, found, _ = plan('baseline_step')
    assert (args.epochs, args.smoothing, args.weight_decay) == (120, 0.0, 1e-4)
    assert (args.opt_kwargs, args.model_kwargs) == (
        {'filter_bias_and_bn': False}, {'zero_init_last': False})
    args, _, _ = plan('baseline_step', opt_kwargs={'nesterov': False}, model='efficientnet_b0')
    assert (args.opt_kwargs, args.model_kwargs) == (
        {'filter_bias_and_bn': False, 'nesterov': False}, {})
    assert [row.name for row in plan('fast')[1].tricks] == [
        'amp', 'runtime', 'data_cache', 'data_monitor', 'finite_guard']


def test_a_recipe_whose_schedule_does_not_fit_the_run_is_refused():
    with pytest.raises(TrickError, match='--tricks baseline_step is nothing without step_decay: a '
                                         'run of 3 is too short .*, got --epochs 3'):
        plan('baseline_step', epochs=3)
    assert plan('baseline_step', epochs=3, sched='cosine')[0].sched == 'cosine'


def test_the_input_stays_as_it_was_and_facts_are_no_changes():
    args = argparse.Namespace(**copy.deepcopy(DEFAULTS))
    out, found, _ = plan_tricks(args, (), 'bag_of_tricks,random_shapes')
    assert vars(args) == DEFAULTS and found.before == DEFAULTS
    assert (out.num_classes, out.input_size, out.img_size) == (None, None, None)
    out.train_img_sizes.append(1)
    assert found.after['train_img_sizes'] == [160, 192, 224]


def test_no_tricks_are_an_empty_plan():
    args, found, strict = plan(None)
    assert (found.tricks, strict) == ((), False)
    assert vars(args) == {**DEFAULTS, 'device': 'cpu'}
    assert plan({'mixup': True, 'strict': True})[2] is True


def test_flags_of_the_user_s_stand():
    assert row('label_smoothing', smoothing=0.05)[::2] == ('present', {})
    assert row('label_smoothing', smoothing=0.05)[1].endswith(
        '--smoothing 0.05 is yours and stands')
    assert row('label_smoothing', smoothing=0.0) == (
        'not_applicable', '--smoothing 0.0 is yours and stands', {})
    assert row('mixup', mixup=0) == ('not_applicable', '--mixup 0 is yours and stands', {})
    assert row('mixup', mixup=0.4) == ('present', '--mixup 0.4 is yours and stands', {})
    assert row('mixup', mixup=0.2) == ('present', '--mixup 0.2 is yours already', {})
    assert row('amp', amp=False) == (
        'not_applicable', 'amp: false in the config file is yours and stands', {})
    assert row('ema', model_ema_decay=0.99) == (
        'applied', 'memory of up to 100 updates, in runs of any length: timm has no flag for a '
        'share of the run; --model-ema-decay 0.99 is yours and stands',
        {'model_ema': True, 'model_ema_warmup': True})
    status, reason, changes = row('amp', amp_dtype='float16')
    assert (status, changes) == ('applied', {'amp': True})
    assert reason == 'float16 on CPU, without loss scaling; --amp-dtype float16 is yours and stands'


def test_the_length_that_the_user_asked_for_is_kept():
    status, reason, changes = row('cosine_warmup', epochs=100)
    assert (status, reason) == ('applied', '5 + 95 epochs = the 100 asked for')
    assert changes == {'sched_on_updates': True, 'warmup_lr': 0.0, 'warmup_prefix': True,
                       'epochs': 95}
    assert row('cosine_warmup', epochs=100, warmup_epochs=8)[1] == \
        '8 + 92 epochs = the 100 asked for'
    args, found, _ = plan('cosine_warmup', epochs=100, warmup_prefix=True)
    assert args.epochs == 100
    assert found['cosine_warmup'].reason == \
        '5 epochs of warm-up come on top of 100, as --warmup-prefix is yours'
    args, found, _ = plan('cosine_warmup', epochs=100, warmup_prefix=False)
    assert (args.epochs, args.warmup_prefix) == (100, False)
    assert found['cosine_warmup'].reason == \
        'warmup_prefix: false in the config file is yours and stands'


def test_two_schedules_are_an_error_where_the_user_named_both_and_else_his_stands():
    with pytest.raises(TrickError) as error:
        plan('cosine_warmup', sched='step')
    assert str(error.value) == (
        'tricks.cosine_warmup and --sched step are two schedules, and a run has one: leave '
        "--sched out, or the trick, got sched='step'")
    with pytest.raises(TrickError, match='tricks.step_decay and --sched cosine'):
        plan('step_decay', sched='cosine')
    with pytest.raises(TrickError, match='tricks.cosine_warmup and --sched tanh'):
        plan(['bag_of_tricks', {'cosine_warmup': {'warmup_epochs': 3}}], sched='tanh')
    args, found, _ = plan('bag_of_tricks', sched='step')
    assert found['cosine_warmup'].status == 'not_applicable'
    assert found['cosine_warmup'].reason == '--sched step is yours and stands'
    assert (args.sched, args.epochs, args.mixup) == ('step', 200, 0.2)
    assert row('cosine_warmup', sched='cosine')[0] == 'applied'
    with pytest.raises(TrickError, match='exclude each other'):
        plan('bag_of_tricks,step_decay')


def test_a_learning_rate_of_the_user_s_is_absolute_until_its_batch_is_said():
    status, reason, changes = row('linear_lr', lr=0.4)
    assert (status, changes) == ('present', {}) and reason.startswith('--lr 0.4 is yours and stand')
    assert row({'linear_lr': {'base_batch_size': 512}}, lr=0.4) == (
        'applied', 'lr 0.4 x 128/512 = 0.1 (128 images x 1 process x 1 accumulation)',
        {'lr': None, 'lr_base': 0.4, 'lr_base_size': 512})
    assert row('linear_lr', opt='adamw')[2] == {'lr_base_scale': 'linear'}
    assert row('linear_lr', lr_base_scale='sqrt') == (
        'present', '--lr-base-scale sqrt is yours and stands', {})


def test_step_decay_is_timm_s_multistep_without_a_warm_up():
    assert row('step_decay', epochs=50) == (
        'applied', 'LR times 0.1 at epoch 15, 30, 45 of 50',
        {'sched': 'multistep', 'decay_milestones': (16, 31, 46), 'warmup_epochs': 0})
    status, reason, _ = row('step_decay', epochs=2)
    assert status == 'not_applicable' and reason.startswith('a run of 2 is too short for steps at')


def test_mixup_s_end_is_counted_in_epochs_of_the_whole_run():
    args, found, _ = plan(['cosine_warmup', {'mixup': {'off_fraction': 0.1}}], epochs=100)
    assert (args.epochs, args.warmup_epochs, args.mixup_off_epoch) == (95, 5, 90)
    assert found['mixup'].reason == 'off from epoch 90 of 100, counted from 0'
    assert plan({'mixup': {'off_epochs': 15}}, epochs=100)[0].mixup_off_epoch == 85
    assert plan({'mixup': {'off_epochs': 200}}, epochs=100)[0].mixup_off_epoch == 1
    assert plan({'mixup': {'off_epochs': 0}}, epochs=100)[0].mixup_off_epoch == 0
    # 0.3 of 12 epochs, 3.6, rounds to 4.
    assert plan({'mixup': {'off_fraction': 0.3}}, epochs=12)[0].mixup_off_epoch == 8
    assert plan({'mixup': {'alpha': 1.0, 'prob': 0.7}})[0].mixup_prob == 0.7
    status, reason, changes = row({'mixup': {'off_epochs': 2}}, mixup=0.4, epochs=9)
    assert (status, changes) == ('applied', {'mixup_off_epoch': 7})
    assert reason.endswith('--mixup 0.4 is yours and stands')


def test_cutmix_of_the_user_s_stays_beside_mixup_and_augmentation_splits_exclude_it():
    assert row('mixup', cutmix=1.0) == (
        'applied', 'each batch is mixed by it or by your cutmix, by cutmix with probability 0.5',
        {'mixup': 0.2})
    assert row('mixup', aug_splits=3)[:2] == (
        'not_applicable', '--aug-splits and --mixup exclude each other in timm')


@pytest.mark.slow
def test_bias_decay_and_zero_gamma_are_timm_s_own_unless_switched_off():
    assert row('no_bias_decay') == (
        'present', 'timm exempts all biases and 1-d parameters by default', {})
    off = {'filter_bias_and_bn': False}
    assert row('no_bias_decay', opt_kwargs=off) == (
        'not_applicable', '--opt-kwargs filter_bias_and_bn=False is yours and stands', {})
    assert row('no_bias_decay', weight_decay=0)[1] == 'there is no weight decay to exempt from'
    assert row('zero_gamma', model='resnet18') == (
        'present', '8 scales of resnet18 start at zero', {})
    assert row('zero_gamma', model='resnet18', model_kwargs={'zero_init_last': False}) == (
        'not_applicable', '--model-kwargs zero_init_last=False is yours and stands', {})
    assert row('zero_gamma', model='skresnet18', model_kwargs={'drop_rate': 0.1}) == (
        'applied', '8 scales of skresnet18 start at zero', {'model_kwargs.zero_init_last': True})
    for name in ('efficientnet_b0', 'vit_tiny_patch16_224', 'resnetv2_50'):
        assert row('zero_gamma', model=name)[1].startswith(f'{name} has no zero_init_last')
    assert row('zero_gamma', pretrained=True)[1] == \
        '--pretrained brings weights, and the scales with them'
    assert "cannot build 'resnet5'" in row('zero_gamma', model='resnet5')[1]


@pytest.mark.parametrize('name, kwargs', [
    ('resnet18', {}), ('resnet18', {'zero_init_last': False}), ('skresnet18', {}),
    ('regnetx_002', {}), ('resnet26d', {})])
def test_the_count_of_zero_scales_is_that_of_the_built_model(name, kwargs):
    model = timm.create_model(name, **kwargs)
    zero = sum(bool((p == 0).all()) for key, p in model.named_parameters()
               if key.endswith('weight') and p.ndim == 1)
    norms = sum('BatchNorm' in type(module).__name__ for module in model.modules())
    known = model_facts({'model': name, 'model_kwargs': kwargs})
    assert (known.zero_scales, known.batch_norms, known.num_classes) == (zero, norms, 1000)


def test_resnet_d_follows_the_user_s_model_and_what_comes_after_sees_it():
    args, found, _ = plan(['resnet_d', 'zero_gamma'], model='resnet18', num_classes=10)
    assert args.model == 'resnet18d'
    assert found['zero_gamma'].reason == '8 scales of resnet18d start at zero'
    assert row('resnet_d', model='resnet34d') == ('present', '--model resnet34d is yours already',
                                                  {})


def test_facts_fill_only_what_timm_would_fill():
    assert facts({'model': 'resnet50', 'device': 'cpu'}) == {
        'num_classes': 1000, 'input_size': [3, 224, 224], 'img_size': 224}
    assert facts({'model': 'resnet50', 'num_classes': 7, 'img_size': 32, 'device': 'cpu',
                  'in_chans': 1}) == {'input_size': [1, 32, 32]}
    assert facts({'model': 'cspresnet50', 'device': 'cpu'})['img_size'] == 256
    assert 'img_size' not in facts({'model': 'resnet50', 'input_size': [3, 192, 224]})
    assert facts({'model': 'no_such_model', 'device': 'cpu'}) == {
        'num_classes': 1000, 'input_size': [3, 224, 224], 'img_size': 224}


@pytest.mark.parametrize('settings, expected', [
    ({'epochs': 95, 'warmup_prefix': True}, 100),
    ({'epochs': 95, 'warmup_prefix': True, 'sched_on_updates': True, 'cooldown_epochs': 10}, 110),
    ({'epochs': 40, 'lr_cycle_limit': 2}, 80),
    ({'epochs': 40, 'sched': 'multistep', 'cooldown_epochs': 10}, 40),
    ({'epochs': 40, 'sched': 'none'}, 40),
    ({'epochs': 40, 'sched': 'plateau', 'sched_on_updates': True}, 40),
])
def test_the_epochs_of_a_run_are_counted_as_timm_does(settings, expected):
    assert total_epochs({**DEFAULTS, **settings}) == expected


@pytest.mark.slow
def test_planning_needs_neither_mmengine_nor_mmdet():
    code = ('import sys, tricks_plugin.timm.plan; '
            'print([m for m in ("mmengine", "mmdet", "mmcv", "timm") if m in sys.modules])')
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == '[]'
