"""What the evidence of a timm training says of learning rates and of the batch behind them."""

from __future__ import annotations

import argparse

import pytest
import torch
from support.timm_evidence import build, found, train, watched

from tricks_plugin.evidence import DeadTrickError
from tricks_plugin.timm.evidence import TimmEvidence
from tricks_plugin.timm.plan import plan_tricks
from tricks_plugin.timm.schedule import curve

CURVES = [
    dict(warmup_epochs=1, warmup_lr=0.0, warmup_prefix=True, epochs=3),
    dict(warmup_epochs=1, warmup_lr=1e-3, min_lr=1e-3),
    dict(warmup_epochs=2, warmup_lr=0.0, warmup_prefix=True, sched_on_updates=False),
    dict(sched='multistep', decay_milestones=[2, 3], sched_on_updates=False),
    dict(sched='multistep', decay_milestones=[2, 3], warmup_epochs=1, warmup_prefix=True),
    dict(sched='step', decay_epochs=1.5, decay_rate=0.3),
    dict(sched='constant', warmup_epochs=2, sched_on_updates=False),
    dict(layer_decay=0.5, warmup_epochs=1, warmup_lr=0.01),
    dict(grad_accum_steps=3, warmup_epochs=1, warmup_lr=0.0),
]


@pytest.mark.parametrize('flags', CURVES)
def test_timms_schedules_follow_their_closed_form_and_a_shifted_one_does_not(flags):
    finding = found(train(build(**flags)), 'sched')
    assert finding.live is True, finding.measured
    assert finding.values['max_relative_deviation'] < 1e-12
    finding = found(train(build(**flags), late=1), 'sched')
    assert finding.live is False
    assert 'off the curve' in finding.measured


def test_the_telling_rates_are_named():
    run = build(lr=0.8, warmup_epochs=1, warmup_lr=0.0, warmup_prefix=True, epochs=3)
    finding = found(train(run, 'cosine_warmup'), 'cosine_warmup')
    assert finding.planned == ('from 0 to the base LR in 4 updates, then cosine to 0 at update 16')
    values = finding.values
    assert (values['lr_first'], values['lr_warmup_end'], values['warmup_end_at']) == (0.0, 0.8, 4)
    # 11/12 of the half turn: 0.4 (1 + cos 165 deg), and cos 165 deg is -0.9659258263.
    assert values['lr_last'] == pytest.approx(0.01362966948, rel=1e-9)


def test_a_rate_after_a_resume_follows_the_curve():
    assert found(train(build(start_epoch=2, warmup_epochs=1)), 'sched').live is True


def test_a_run_that_was_over_before_it_was_resumed_claims_nothing():
    evidence = train(build(start_epoch=4), 'cosine_warmup')
    finding = found(evidence, 'cosine_warmup')
    assert (finding.live, finding.measured) == (None, 'no iteration yet')


def test_the_multi_step_curve_falls_one_epoch_before_its_milestone_as_timms_does():
    run = build(sched='multistep', decay_milestones=[3, 5], sched_on_updates=False, lr=0.8)
    rate = curve(run.args, 4)
    assert [rate.at({'epoch': epoch}, 0.8) for epoch in range(6)] == pytest.approx(
        [0.8, 0.8, 0.08, 0.08, 0.008, 0.008])


def test_a_schedule_without_closed_form_is_live_once_the_rate_changes():
    evidence = train(build(sched='poly', epochs=2), epochs=2)
    assert found(evidence, 'sched').live is True
    assert 'measured, not compared' in found(evidence, 'sched').measured
    assert found(train(build(sched='cosine', lr_k_decay=2.0), epochs=1), 'sched').live is True
    assert 'sched' not in watched(build(sched='none')).monitor.measurements


@pytest.mark.parametrize('sched', ['step', 'poly', 'none'])
def test_a_promised_cosine_that_is_another_schedule_is_dead(sched):
    finding = found(train(build(sched=sched), 'cosine_warmup', epochs=1), 'cosine_warmup')
    assert finding.live is False and finding.planned == 'schedule cosine'


@pytest.mark.parametrize(('flags', 'trick'), [
    (dict(warmup_epochs=1, warmup_lr=0.0), 'cosine_warmup'),
    (dict(sched='multistep', decay_milestones=[2, 3], sched_on_updates=False), 'step_decay'),
    (dict(sched='cosine', lr_k_decay=2.0, epochs=9), 'cosine_warmup'),
])
def test_a_schedule_that_stands_still_after_a_good_start_is_dead(flags, trick):
    run = build(**flags)

    def freeze(seen):
        if seen == 6:
            run.scheduler.update_groups = lambda values: None

    finding = found(train(run, trick, meddle=freeze), trick)
    assert finding.live is False
    assert finding.values['iterations'] == 4 * run.num_epochs


def test_a_rate_that_is_set_by_hand_later_is_dead():
    run = build(warmup_epochs=1, warmup_lr=0.0)

    def by_hand(seen):
        if seen == 9:
            run.optimizer.param_groups[-1]['lr'] *= 1.001

    finding = found(train(run, 'cosine_warmup', meddle=by_hand), 'cosine_warmup')
    assert finding.live is False and '(at update 9)' in finding.measured


@pytest.mark.parametrize(('flags', 'images', 'lr'), [
    (dict(batch_size=8, lr=0.003125, lr_base=0.1), 8, 0.003125),
    (dict(batch_size=8, grad_accum_steps=4, lr=0.0125), 32, 0.0125),
    (dict(batch_size=8, aug_splits=2, lr=0.1 * 4 / 256), 4, 0.0015625),
])
def test_the_images_behind_an_update_and_their_rate(flags, images, lr):
    finding = found(train(build(**flags), epochs=1, settings={'lr': None}), 'linear_lr')
    assert finding.live is True
    assert finding.values['images_per_update'] == images
    assert finding.values['lr_by_the_rule'][''] == pytest.approx(lr, rel=1e-12)


def test_a_rate_for_another_batch_is_dead():
    # Planned: 8 images, 0.1 * 8 / 256 = 0.003125.
    finding = found(train(build(lr=0.1), epochs=1, settings={'lr': None}), 'linear_lr')
    assert finding.live is False and 'no group has that LR (base LRs 0.1)' in finding.measured
    run = build(batch_size=8, lr=0.003125)
    run.args.batch_size = 6
    finding = found(train(run, epochs=1, settings={'lr': None}), 'linear_lr')
    assert finding.live is False
    assert finding.measured.startswith('6 images per update (1 process), for which the rule')


def test_batches_that_become_smaller_after_a_good_start_are_dead():
    run = build(batch_size=8, lr=0.003125, updates_per_epoch=10)

    def shrink(seen):
        run.args.batch_size = 8 if seen < 25 else 4

    finding = found(train(run, settings={'lr': None}, meddle=shrink), 'linear_lr')
    assert finding.live is False and finding.values['images_per_update'] == 4


def test_nothing_is_said_of_the_batch_before_the_first_update():
    run = build(batch_size=8, grad_accum_steps=4, lr=0.0125)
    evidence = watched(run, settings={'lr': None})
    evidence.start()
    evidence.on_batch(0, torch.zeros(8, 3, 8, 8), torch.zeros(8))
    evidence.after_batch(torch.zeros(()))
    assert found(evidence, 'linear_lr').live is None


def test_a_derived_rate_is_watched_without_a_plan_and_a_given_one_is_not():
    run = build(lr=0.003125)
    assert 'linear_lr' in watched(run, settings={'lr': None}).monitor.measurements
    assert 'linear_lr' not in watched(build(lr=0.05)).monitor.measurements
    adaptive = {'lr': None, 'opt': 'adamw'}
    assert 'linear_lr' not in watched(run, settings=adaptive).monitor.measurements


def test_the_users_own_rate_stands_in_plan_and_run_and_strict_does_not_stop_it(tmp_path):
    run = build(lr=0.05, output_dir=tmp_path)
    settings, plan, strict = plan_tricks(
        argparse.Namespace(**vars(run.args)), {'lr'}, {'linear_lr': True, 'strict': True})
    row = plan['linear_lr']
    assert (row.status, row.promise, strict) == ('present', None, True)
    assert row.reason.startswith('--lr 0.05 is yours and stands')
    evidence = TimmEvidence(run, vars(settings), plan, strict)
    assert set(evidence.monitor.measurements).isdisjoint({'linear_lr'})


def test_strict_stops_for_a_schedule_that_was_asked_for_and_for_no_other(tmp_path):
    def break_it(run):
        def meddle(seen):
            if seen == 2:
                run.optimizer.param_groups[0]['lr'] = 7.0
        return meddle

    run = build(output_dir=tmp_path)
    finding = found(train(run, strict=True, meddle=break_it(run)), 'sched')
    assert finding.live is False
    run = build(output_dir=tmp_path)
    with pytest.raises(DeadTrickError, match='cosine_warmup'):
        train(run, 'cosine_warmup', strict=True, meddle=break_it(run))
