"""Step decay: points, the edit, and the LR of a real run."""

from __future__ import annotations

import types
from collections import Counter

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import PARAM_SCHEDULERS

import tricks_plugin
from tricks_plugin.functional import decay_points, step_decay
from tricks_plugin.mm.config_edit import plain
from tricks_plugin.mm.training import RunnerTraining
from tricks_plugin.plan.errors import TrickError
from tricks_plugin.tricks.step_decay import StepDecay
from tricks_plugin.tricks.step_decay.evidence import StepEvidence


def test_points_are_shares_of_the_run_rounded_down():
    assert decay_points(100, (0.3, 0.6, 0.9)) == [30, 60, 90]
    assert decay_points(273, (0.3, 0.6, 0.9)) == [81, 163, 245]
    assert decay_points(4, (0.3, 0.6, 0.9)) == [1, 2, 3]


@pytest.mark.parametrize(('total', 'fractions', 'words'), [
    (3, (0.3, 0.6), 'a run of 3 is too short'), (9, (0.6, 0.3), r'must rise within \(0, 1\)'),
    (9, (0.5, 1.0), 'must rise within'), (9, (), 'too short')])
def test_points_that_cannot_be_are_refused(total, fractions, words):
    with pytest.raises(ValueError, match=words):
        decay_points(total, fractions)


def test_each_point_takes_effect_at_its_own_step():
    rates = [step_decay(step, 0.4, [2, 3], gamma=0.25) for step in range(5)]
    assert rates == pytest.approx([0.4, 0.4, 0.1, 0.025, 0.025])


def planned(cfg, **params):
    verdict = StepDecay.from_dict(params).apply(cfg)
    if verdict.status == 'applied':
        assert StepDecay.from_dict(params).apply(cfg).status == 'present'
    return verdict


def test_faster_rcnn_keeps_its_warm_up(zoo):
    cfg = plain(Config.fromfile(zoo / 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'))
    verdict = planned(cfg)
    assert cfg['param_scheduler'] == [
        dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
        dict(type='MultiStepLR', by_epoch=True, milestones=[3, 7, 10], gamma=0.1)]
    assert verdict.reason == "LR times 0.1 at epoch 3, 7, 10 of 12; the config's own warm-up stays"
    assert verdict.promise == {}


def test_a_constant_start_goes_and_the_reason_says_so():
    """mmengine's ConstantLR with end=1 would hold a tenth of the LR for the whole run."""
    cfg = dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.2)),
               train_cfg=dict(by_epoch=True, max_epochs=10), default_scope='mmengine',
               param_scheduler=[dict(type='ConstantLR', factor=0.1, end=1),
                                dict(type='CosineAnnealingLR', begin=1, T_max=9)])
    assert planned(cfg).reason == ('LR times 0.1 at epoch 3, 6, 9 of 10; ConstantLR, which is no '
                                   'ramp, goes with its schedule')
    assert cfg['param_scheduler'] == [
        dict(type='MultiStepLR', by_epoch=True, milestones=[3, 6, 9], gamma=0.1)]


def test_an_iteration_based_run_steps_in_iterations(zoo):
    name = 'soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py'
    cfg = plain(Config.fromfile(zoo / name))
    assert planned(cfg, milestones=[0.5]).status == 'applied'
    assert cfg['param_scheduler'][-1] == dict(
        type='MultiStepLR', by_epoch=False, milestones=[90000], gamma=0.1)


def test_beside_the_cosine_it_is_refused_since_a_run_has_one_schedule(zoo):
    cfg = Config.fromfile(zoo / 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py')
    with pytest.raises(TrickError, match='step_decay and tricks.cosine_warmup exclude each other'):
        tricks_plugin.apply_tricks(cfg, ['cosine_warmup', 'step_decay'])
    with pytest.raises(TrickError, match='by tricks.cosine_warmup=False'):
        tricks_plugin.apply_tricks(cfg, ['bag_of_freebies', 'step_decay'])
    _, plan = tricks_plugin.apply_tricks(
        cfg, ['bag_of_freebies', {'cosine_warmup': False}, 'step_decay'])
    assert next(row for row in plan.tricks if row.name == 'step_decay').status == 'applied'
    effective, _ = tricks_plugin.apply_tricks(cfg, 'cosine_warmup')
    _, plan = tricks_plugin.apply_tricks(effective, 'step_decay')
    assert plan.tricks[0].status == 'not_applicable'


def test_wrong_milestones_are_refused_with_their_path():
    with pytest.raises(TrickError, match=r'milestones: fractions must rise within \(0, 1\)'):
        StepDecay.from_dict({'milestones': [0.9, 0.3]})
    with pytest.raises(TrickError, match='gamma must be < 1, got 2'):
        StepDecay.from_dict({'gamma': 2})


def test_timm_gets_the_same_points():
    args = StepDecay.from_dict({}).timm_args({'epochs': 50})
    assert (args['sched'], args['decay_milestones'], args['decay_rate']) == (
        'multistep', [16, 31, 46], 0.1)
    assert 'a run of 2 is too short' in StepDecay.from_dict({}).timm_args({'epochs': 2})


def run(items, epochs, length, meddle=None):
    """Steps mmengine's own schedulers as its hook does, and shows every LR to the evidence."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    wrapper = OptimWrapper(torch.optim.SGD([parameter], lr=0.4))
    schedulers = [PARAM_SCHEDULERS.build(dict(item, optimizer=wrapper.optimizer)) for item in items]
    runner = types.SimpleNamespace(
        optim_wrapper=wrapper, epoch=0, iter=0, cfg=Config({'param_scheduler': items}),
        train_dataloader=range(length), max_iters=epochs * length, max_epochs=epochs)
    training, evidence = RunnerTraining(runner), StepEvidence()
    evidence.start(training)
    rates, switches = [], []
    for epoch in range(epochs):
        runner.epoch = epoch
        for _ in range(length):
            if meddle:
                meddle(runner, schedulers)
            evidence.before_iteration(training)
            rates.append(wrapper.optimizer.param_groups[0]['lr'])
            switches.append(evidence.switched(training))
            wrapper.optimizer.step()
            runner.iter += 1
            for scheduler in schedulers:
                if not scheduler.by_epoch:
                    scheduler.step()
        for scheduler in schedulers:
            if scheduler.by_epoch:
                scheduler.step()
    return evidence.finding(training), rates, switches


STEPS = [dict(type='LinearLR', start_factor=0.5, by_epoch=False, end=2),
         dict(type='MultiStepLR', by_epoch=True, milestones=[1, 2, 3], gamma=0.1)]


def test_the_lr_of_a_run_falls_where_planned_and_the_evidence_follows():
    cfg = dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.4)),
               train_cfg=dict(by_epoch=True, max_epochs=4), param_scheduler=STEPS[:1])
    assert planned(cfg).promise == {} and cfg['param_scheduler'] == STEPS
    finding, rates, switches = run(cfg['param_scheduler'], 4, 3)
    assert rates == pytest.approx([0.2, 0.4, 0.4, *[0.04] * 3, *[0.004] * 3, *[0.0004] * 3])
    assert [i for i, switch in enumerate(switches) if switch] == [2, 3, 6, 9]
    assert finding.live and finding.values['steps'] == 3
    assert finding.planned == ('a warm-up of 2 iterations, then times 0.1 at epoch 1, 2, 3')
    assert finding.values['lr_last'] == pytest.approx(0.0004)


def test_a_dumped_schedule_with_other_points_is_judged_by_its_own():
    steps = dict(type='MultiStepLR', by_epoch=False, milestones=[2, 5], gamma=0.3)
    finding, *_ = run([steps], 3, 3)
    assert finding.live and finding.planned == 'times 0.3 at iteration 2, 5'


def stop_stepping(runner, schedulers):
    if runner.iter == 7:
        schedulers.clear()


def by_hand(runner, schedulers):
    if runner.iter == 10:
        runner.optim_wrapper.optimizer.param_groups[0]['lr'] = 0.4


def milestones_of_a_checkpoint(runner, schedulers):
    if runner.iter == 0:
        schedulers[1].milestones = Counter([1, 2])


@pytest.mark.parametrize('meddle', [stop_stepping, by_hand, milestones_of_a_checkpoint])
def test_an_lr_that_does_not_fall_after_a_good_start_is_dead(meddle):
    finding, *_ = run(STEPS, 4, 3, meddle)
    assert finding.live is False and 'off the curve by at most' in finding.measured


def test_no_schedule_or_another_one_is_dead():
    assert run([], 1, 2)[0].live is False
    finding, *_ = run([dict(type='PolyLR', by_epoch=True, end=9)], 3, 2)
    assert (finding.live, finding.planned) == (False, 'schedule step or multistep')


def test_what_goes_with_the_old_schedule_is_said():
    cfg = dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.4)),
               train_cfg=dict(by_epoch=True, max_epochs=10),
               param_scheduler=dict(type='CosineAnnealingLR', eta_min=1e-4))
    assert 'its lowest LR of 0.0001 goes with its schedule' in planned(cfg).reason
