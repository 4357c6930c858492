"""What is made of a study: pairs, ratios, the time to the first rung's value, dead tricks."""

import dataclasses
import json
import math

import pytest
from support import ablate

from tricks_plugin.ablate.analysis import analyse
from tricks_plugin.ablate.study import Point, Study, TrickCheck


def rungs(study):
    return {rung.rung.name: rung for _, rung in analyse(study).rungs}


def test_a_stack_is_compared_with_the_rung_before_and_with_the_first():
    found = rungs(ablate.make_study())
    first = found['baseline']
    assert first.to_first is first.to_reference is first.own is None
    assert first.mean == pytest.approx(61.1)  # (61.0 + 62.2 + 60.1) / 3, in points
    second, third = found['linear_lr'], found['cosine_warmup']
    assert second.to_reference is None and second.own is second.to_first
    assert second.own.differences == pytest.approx((1.0, 2.0, 3.0))
    assert third.own.against == 'linear_lr'
    assert third.own.differences == pytest.approx((0.9, 1.1, 1.0))
    assert third.to_first.differences == pytest.approx((1.9, 3.1, 4.0))
    assert found['label_smoothing'].own.verdict == 'no spread'
    verdicts = [found[name].own.verdict for name in ablate.STACK]
    assert verdicts == ['not shown', 'gains', 'loses', 'no spread', 'not shown', 'gains']


def test_leave_one_out_is_compared_with_all_tricks():
    steps = [(2.0, 3.0, 2.5), *[(-0.5, -0.4, -0.6)] * 6]
    found = rungs(ablate.make_study(steps, mode='leave-one-out'))
    assert found['all'].own.against == 'baseline'
    assert found['mixup'].own.against == 'all'
    assert found['mixup'].own.verdict == 'loses'
    assert found['mixup'].to_first.verdict == 'gains'


def test_holm_counts_every_comparison_of_the_study():
    found = analyse(ablate.make_study())
    # 6 against the first, 5 more against the rung before, one of them without spread.
    assert len(found.comparisons) == 11
    assert len(found.judged) == 10
    least = min(found.judged, key=lambda one: one.p)
    assert least.p_holm == pytest.approx(10 * least.p)


def test_cost_is_the_geometric_mean_of_paired_ratios():
    study = ablate.make_study([(1.0, 2.0)], ('mixup',), base=(61.0, 62.0))
    for rung, seed, seconds, memory in (('baseline', 0, 200, 1000), ('baseline', 1, 200, 1000),
                                        ('mixup', 0, 100, 1100), ('mixup', 1, 800, 1210)):
        study = ablate.replace_run(study, rung, seed, seconds=float(seconds), memory_mb=memory)
    found = rungs(study)['mixup']
    assert found.time.ratio == pytest.approx(math.sqrt(0.5 * 4))
    assert found.time.median == 450
    assert found.memory.ratio == pytest.approx(math.sqrt(1.1 * 1.21))
    assert found.time.seeds == 2
    study = ablate.replace_run(study, 'mixup', 1, memory_mb=None)
    assert rungs(study)['mixup'].memory.ratio == pytest.approx(1.1)


def reach(curves, greater=True):
    """The first rung ends with 0.5 after 100 s in every seed; the second has these curves."""
    study = ablate.make_study([(1.0,) * len(curves)], ('mixup',), base=(50.0,) * len(curves),
                              greater=greater)
    for seed, values in enumerate(curves):
        study = ablate.replace_run(study, 'baseline', seed, value=0.5, seconds=100.0)
        points = tuple(Point(i + 1, None, 10.0 * (i + 1), value) for i, value in enumerate(values))
        study = ablate.replace_run(study, 'mixup', seed, value=values[-1], curve=points)
    return rungs(study)['mixup'].reach


def test_time_to_the_first_rungs_value_is_the_first_validation_as_good():
    found = reach([(0.3, 0.5, 0.6), (0.4, 0.45, 0.7), (0.6, 0.4, 0.55)])
    assert (found.fraction, found.reached, found.seeds) == (pytest.approx(0.2), 3, 3)


def test_a_seed_that_never_gets_there_is_the_slowest():
    found = reach([(0.3, 0.4), (0.5, 0.6), (0.4, 0.55)])
    assert (found.fraction, found.reached) == (pytest.approx(0.2), 2)  # 0.1, 0.2, never
    found = reach([(0.3, 0.4), (0.3, 0.4), (0.5, 0.6)])
    assert (found.fraction, found.reached, found.seeds) == (None, 1, 3)


def test_where_less_is_better_lower_is_as_good():
    found = reach([(0.7, 0.6, 0.5), (0.5, 0.4, 0.3), (0.9, 0.45, 0.4)], greater=False)
    assert found.fraction == pytest.approx(0.2)  # 0.3, 0.1, 0.2


def test_a_rung_with_a_dead_trick_is_no_result_and_no_reference():
    found = rungs(ablate.troubled())
    dead = found['no_bias_decay']
    assert dead.dead == {'no_bias_decay': (1,)}
    assert len(dead.values) == 2  # the two others ran, and are shown
    assert dead.own.verdict == dead.to_first.verdict == 'no result'
    assert dead.own.reason == 'no_bias_decay was not live in seed 1'
    after = found['ema']
    assert after.own.reason == 'no_bias_decay was not live in seed 1 (in + no_bias_decay)'
    assert after.to_first.verdict == 'one seed'
    assert after.states == {'finished': 1, 'failed': 1, 'running': 1}
    assert found['mixup'].unknown == {'mixup': (0,)}
    assert found['mixup'].own.verdict == 'loses'  # what could not be told counts, and is said


def test_the_evidence_of_a_run_that_goes_on_is_not_final():
    study = ablate.replace_run(ablate.make_study(), 'mixup', 1, status='running', value=None,
                               checks=(TrickCheck('mixup', False, 'no batch mixed yet'),))
    found = rungs(study)['mixup']
    assert found.dead == {}
    assert found.own.seeds == (0, 2)


def test_a_metric_that_is_no_number_does_not_count():
    study = ablate.replace_run(ablate.make_study(), 'mixup', 1, value=math.nan)
    found = rungs(study)
    assert sorted(found['mixup'].values) == [0, 2]
    assert found['label_smoothing'].own.seeds == (0, 2)


def test_missing_runs_are_waiting():
    study = dataclasses.replace(ablate.make_study(), runs=())
    found = rungs(study)
    assert found['mixup'].states == {'waiting': 3}
    assert found['mixup'].mean is found['mixup'].time.ratio is None


def test_a_reference_that_is_not_there_is_said():
    study = ablate.make_study([(1.0, 2.0, 3.0)], ('mixup',))
    subject = study.subjects[0]
    odd = dataclasses.replace(subject.rungs[1], reference='gone')
    study = dataclasses.replace(study, subjects=(
        dataclasses.replace(subject, rungs=(subject.rungs[0], odd)),))
    assert rungs(study)['mixup'].own.reason == "no rung 'gone'"


def test_a_rung_that_changes_nothing_is_said_and_counted_once():
    study = ablate.make_study([(1.0, 2.0, 3.0), (0.0, 0.0, 0.0), (0.9, 1.1, 1.0)],
                              ('mixup', 'amp', 'ema'))
    subject = study.subjects[0]
    same = dataclasses.replace(subject.rungs[2], same_as='mixup')
    study = dataclasses.replace(study, subjects=(dataclasses.replace(
        subject, rungs=(*subject.rungs[:2], same, subject.rungs[3])),))
    analysis = analyse(study)
    found = {rung.rung.name: rung for _, rung in analysis.rungs}
    assert found['amp'].own.verdict == 'unchanged'
    assert found['amp'].own.words == 'changes nothing here; its runs are those of + mixup'
    # Against the first, mixup and amp are one comparison; ema has two.
    assert [(one.rung, one.against) for one in analysis.judged] == [
        ('mixup', 'baseline'), ('ema', 'amp'), ('ema', 'baseline')]
    assert found['amp'].to_first.twin and not found['mixup'].to_first.twin
    assert found['amp'].to_first.p_holm == found['mixup'].to_first.p_holm
    assert found['ema'].own.p_holm == pytest.approx(3 * found['ema'].own.p)


def test_a_study_comes_back_from_json():
    study = ablate.troubled()
    assert Study.from_dict(json.loads(json.dumps(study.to_dict()))) == study
