from __future__ import annotations

import pytest
import torch

mmengine = pytest.importorskip('mmengine')
from mmengine.optim import OptimWrapper  # noqa: E402
from mmengine.registry import PARAM_SCHEDULERS  # noqa: E402

from tricks_plugin.mm.curves import RunUnits, curves  # noqa: E402
from tricks_plugin.tricks.cosine_warmup.scheduler import WarmupCosineLR  # noqa: E402

# 12 iterations, 3 of them warm-up, then eighths... of pi over 9 steps.
NINTHS = [1.0, 0.9396926208, 0.7660444431, 0.5, 0.1736481777]
SHARES = [0.0, 1 / 3, 2 / 3, *[(1 + c) / 2 for c in NINTHS],
          *[(1 - c) / 2 for c in reversed(NINTHS[1:])]]


def optimizer(*lrs):
    groups = [{'params': [torch.nn.Parameter(torch.ones(2))], 'lr': lr} for lr in lrs]
    return torch.optim.SGD(groups, lr=1.0)


def lrs(optim):
    return [group['lr'] for group in optim.param_groups]


def advance(optim, scheduler):
    optim.step()
    scheduler.step()


def test_two_groups_follow_the_same_curve_at_their_own_rates():
    optim = optimizer(0.06, 0.6)
    scheduler = WarmupCosineLR(optim, warmup_iters=3, end=12, by_epoch=False)
    for step, share in enumerate(SHARES):
        expected = [0.06 * share, 0.6 * share]
        assert lrs(optim) == pytest.approx(expected, rel=1e-8, abs=1e-15), f'step {step}'
        advance(optim, scheduler)
    assert lrs(optim) == [0.0, 0.0]


def test_a_flat_part_by_hand_and_by_the_measurement_s_own_curve():
    # 12 iterations, 3 of warm-up, a third of the other 9 flat: to 6, then sixths of pi.
    optim = optimizer(0.06)
    scheduler = WarmupCosineLR(optim, warmup_iters=3, end=12, by_epoch=False,
                               flat_fraction=1 / 3)
    cfg = {'param_scheduler': [dict(type='tricks_plugin.WarmupCosineLR', by_epoch=False,
                                    warmup_iters=3, flat_fraction=1 / 3)]}
    curve = curves(cfg, [''], RunUnits(4, 12))['']
    shares = [0, 1 / 3, 2 / 3, 1, 1, 1, 1, 0.9330127, 0.75, 0.5, 0.25, 0.0669873]
    for step, share in enumerate(shares):
        assert lrs(optim) == pytest.approx([0.06 * share], rel=1e-6, abs=1e-15), f'step {step}'
        assert curve.at({'iteration': step}, 0.06) == pytest.approx(0.06 * share, rel=1e-6)
        advance(optim, scheduler)
    assert curve.words() == ('from 0 to the base LR in 3 iterations, then flat to iteration 6, '
                             'then cosine to 0 at iteration 12')
    with pytest.raises(ValueError, match='flat_fraction must be'):
        WarmupCosineLR(optimizer(0.06), warmup_iters=3, end=12, by_epoch=False, flat_fraction=1)


def test_the_lr_stays_at_eta_min_after_the_end():
    optim = optimizer(0.06)
    scheduler = WarmupCosineLR(optim, warmup_iters=3, end=12, eta_min=0.004, by_epoch=False)
    for _ in range(40):
        advance(optim, scheduler)
    assert lrs(optim) == [0.004]


def test_the_lr_does_not_depend_on_what_others_did_to_it():
    optim = optimizer(0.06)
    scheduler = WarmupCosineLR(optim, warmup_iters=3, end=12, by_epoch=False)
    for _ in range(5):
        advance(optim, scheduler)
        optim.param_groups[0]['lr'] *= 17
    advance(optim, scheduler)
    assert lrs(optim) == pytest.approx([0.06 * SHARES[6]], rel=1e-8)


def test_a_begin_delays_the_warm_up():
    optim = optimizer(0.06)
    scheduler = WarmupCosineLR(optim, warmup_iters=2, begin=4, end=30, by_epoch=False)
    seen = []
    for _ in range(7):
        seen.append(lrs(optim)[0])
        advance(optim, scheduler)
    assert seen == pytest.approx([0.06, 0.06, 0.06, 0.06, 0.0, 0.03, 0.06])


def build(optim, epoch_length, **config):
    return PARAM_SCHEDULERS.build(
        dict(type='tricks_plugin.WarmupCosineLR', **config),
        default_args={'optimizer': OptimWrapper(optim), 'epoch_length': epoch_length})


@pytest.mark.parametrize(('config', 'warmup', 'total'), [
    ({'convert_to_iter_based': True, 'warmup_epochs': 2, 'end': 7}, 26, 91),
    ({'convert_to_iter_based': True, 'warmup_epochs': 0.35, 'end': 7}, 5, 91),
    ({'convert_to_iter_based': True, 'warmup_iters': 40, 'end': 7}, 40, 91),
    ({'convert_to_iter_based': True, 'warmup_epochs': 2, 'end': 1, 'total_iters': 333}, 26, 333),
    ({'by_epoch': False, 'warmup_iters': 40, 'end': 91}, 40, 91),
])
def test_lengths_in_epochs_and_iterations_build_the_same_kind_of_scheduler(config, warmup, total):
    scheduler = build(optimizer(0.1), 13, **config)
    assert (scheduler.warmup_iters, scheduler.total_iters) == (warmup, total)
    assert scheduler.by_epoch is False


def test_a_stock_warm_up_longer_than_a_small_run_is_shortened_with_a_warning(caplog):
    from mmengine.logging import MMLogger
    logger = MMLogger.get_instance('warmup_cosine_test')
    logger.addHandler(caplog.handler)
    scheduler = build(optimizer(0.1), 13, convert_to_iter_based=True, warmup_iters=1000,
                      fit_warmup=True, end=40)
    logger.removeHandler(caplog.handler)
    assert (scheduler.warmup_iters, scheduler.total_iters) == (52, 520)
    assert 'warm-up of 1000 iterations' in caplog.text
    assert 'run of 520' in caplog.text
    assert 'shortened to 52 iterations' in caplog.text


@pytest.mark.parametrize(('config', 'message'), [
    ({'warmup_iters': 5, 'end': 7}, 'stepped per iteration: set by_epoch=False'),
    ({'by_epoch': False, 'warmup_iters': 5}, r'end must be an iteration after begin \(0\), got'),
    ({'by_epoch': False, 'warmup_iters': 50, 'end': 40}, 'a warm-up of 50 for 40 steps'),
    ({'by_epoch': False, 'warmup_iters': 5, 'end': 40, 'eta_min': 0.2}, 'got 0.2 for a base LR'),
    ({'convert_to_iter_based': True, 'end': 4}, 'exactly one of warmup_epochs and warmup_iters'),
    ({'convert_to_iter_based': True, 'end': 4, 'warmup_iters': 2, 'warmup_epochs': 1},
     'got warmup_epochs=1, warmup_iters=2'),
    ({'convert_to_iter_based': True, 'warmup_iters': 2}, r'end \(epochs\) or total_iters must be'),
])
def test_wrong_settings_are_refused_with_the_reason(config, message):
    with pytest.raises(ValueError, match=message):
        build(optimizer(0.1), 13, **config)


def test_an_eta_min_above_one_groups_base_lr_is_refused():
    with pytest.raises(ValueError, match='got 0.02 for a base LR of 0.01'):
        WarmupCosineLR(optimizer(0.1, 0.01), 2, 9, eta_min=0.02, by_epoch=False)


def test_the_state_holds_no_setting_of_the_schedule():
    scheduler = WarmupCosineLR(optimizer(0.1), 2, 9, by_epoch=False)
    assert set(scheduler.state_dict()) == {
        'last_step', '_global_step', 'base_values', '_last_value'}


def stepped(steps, **settings):
    optim = optimizer(0.08, 0.4)
    scheduler = WarmupCosineLR(optim, by_epoch=False, **settings)
    for _ in range(steps):
        advance(optim, scheduler)
    return optim, scheduler


@pytest.mark.parametrize('stop', [1, 3, 4, 9])
def test_a_resumed_schedule_equals_the_uninterrupted_one_at_every_later_step(stop):
    first, saved = stepped(stop, warmup_iters=4, end=13)
    resumed = optimizer(0.08, 0.4)
    scheduler = WarmupCosineLR(resumed, 4, 13, by_epoch=False)
    resumed.load_state_dict(first.state_dict())
    scheduler.load_state_dict(saved.state_dict())
    for _ in range(stop, 15):
        assert lrs(resumed) == lrs(first)
        advance(first, saved)
        advance(resumed, scheduler)


def test_a_schedule_changed_before_the_resume_takes_effect_at_once():
    first, saved = stepped(5, warmup_iters=4, end=13)
    resumed = optimizer(0.08, 0.4)
    scheduler = WarmupCosineLR(resumed, 8, 40, by_epoch=False)
    resumed.load_state_dict(first.state_dict())
    scheduler.load_state_dict(saved.state_dict())
    assert lrs(resumed) == pytest.approx([0.08 * 5 / 8, 0.4 * 5 / 8])


def test_a_run_begun_with_stock_schedulers_goes_on_with_this_one():
    from mmengine.optim import LinearLR, MultiStepLR
    optim = optimizer(0.08)
    linear = LinearLR(optim, start_factor=0.1, begin=0, end=4, by_epoch=False)
    for _ in range(7):
        advance(optim, linear)
    scheduler = WarmupCosineLR(optimizer(0.08), 4, 13, by_epoch=False)
    scheduler.load_state_dict(linear.state_dict())
    assert lrs(scheduler.optimizer) == pytest.approx([0.08 * (1 + 0.5) / 2])
    epochs = MultiStepLR(optim, milestones=[3])
    for _ in range(2):
        advance(optim, epochs)
    converted = build(optimizer(0.08), 13, convert_to_iter_based=True, warmup_epochs=4, end=10)
    converted.load_state_dict(epochs.state_dict())
    assert lrs(converted.optimizer.optimizer) == pytest.approx([0.04])
    with pytest.raises(ValueError, match='cannot continue, got _global_step=2 epochs'):
        scheduler.load_state_dict(epochs.state_dict())


def test_an_eta_min_above_a_groups_rate_names_the_option_and_the_group():
    with pytest.raises(ValueError, match=r'of parameter group 1 \(see paramwise_cfg\): lower '
                                         r'tricks.cosine_warmup.eta_min'):
        WarmupCosineLR(optimizer(0.06, 0.003), 3, end=12, eta_min=0.004, by_epoch=False)


def test_the_lowest_rate_may_be_a_share_of_each_groups_own():
    optim = optimizer(0.06, 0.0)
    scheduler = WarmupCosineLR(optim, 3, end=12, eta_min_ratio=0.05, by_epoch=False)
    for _ in range(13):
        advance(optim, scheduler)
    assert lrs(optim) == [pytest.approx(0.003), 0.0]
    with pytest.raises(ValueError, match='eta_min and eta_min_ratio exclude each other'):
        WarmupCosineLR(optim, 3, end=12, eta_min=0.1, eta_min_ratio=0.05, by_epoch=False)
