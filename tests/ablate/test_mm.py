"""Rungs of mmdet configs: planned from a config, each training once."""

from __future__ import annotations

import pytest
from support.small_config import CONFIG

from tricks_plugin.ablate.ablation import jobs_of
from tricks_plugin.cli.ablate import mmdet_parser
from tricks_plugin.plan.errors import TrickError


@pytest.fixture()
def plan(tmp_path):
    """Plans an ablation by the words of its command line."""
    pytest.importorskip('mmdet')
    from tricks_plugin.ablate.setup import plan_ablation
    (tmp_path / 'x.py').write_text(CONFIG)
    return lambda *words: plan_ablation(
        mmdet_parser('x').parse_args([str(tmp_path / 'x.py'), '--out', 'x', *words]), 'the command')


def test_what_changes_nothing_in_one_process_is_no_rung(plan):
    found = plan('--tricks', 'cosine_warmup,no_bias_decay,sync_bn,ema', '--mode', 'stack')
    rungs = found.planned['x']
    assert [(one.rung.name, one.rung.reference, one.rung.same_as) for one in rungs] == [
        ('plain', None, None), ('cosine_warmup', 'plain', None), ('ema', 'cosine_warmup', None)]
    bias, sync = found.study.notes[:2]
    assert bias.startswith('no_bias_decay changes nothing here (present: ')
    assert sync == ('sync_bn changes nothing here (a single process has the whole batch: there is '
                    'nothing to synchronize): it has no rung.')
    # The plan has it all the same, as in any run of these tricks.
    assert {row['name']: row['status'] for row in rungs[-1].rung.plan}['sync_bn'] == 'applied'
    assert 'SyncBatchNormHook' in rungs[-1].content


def test_no_settings_are_trained_twice(plan):
    found = plan('--arms', 'a=ema', 'b=ema,sync_bn', 'c=ema;optim_wrapper.optimizer.lr=0.2',
                 'd=ema,finite_guard', '--seeds', '2')
    assert [(one.rung.name, one.rung.same_as) for one in found.planned['x']] == [
        ('plain', None), ('a', None), ('b', 'a'), ('c', None), ('d', 'a')]
    assert [(job.planned.rung.name, job.seed) for job in jobs_of(found)] == [
        ('plain', 0), ('a', 0), ('c', 0), ('plain', 1), ('a', 1), ('c', 1)]


def test_a_first_arm_of_a_recipe_and_one_that_differs_in_riders_alone_are_one_training(plan):
    found = plan('--arms', 'plain=ema,finite_guard', 'bare=ema', 'more=ema;optim_wrapper.optimizer.'
                 'lr=0.2')
    assert [(one.rung.name, one.rung.same_as) for one in found.planned['x']] == [
        ('plain', None), ('bare', 'plain'), ('more', None)]


@pytest.mark.parametrize(('evaluator', 'names', 'complete'), [
    (dict(), ['coco/bbox_mAP', 'coco/bbox_mAP_50'], True),
    (dict(classwise=True), ['coco/bbox_mAP', 'coco/bbox_mAP_50'], False),
    (dict(metric_items=['mAP_50']), ['coco/bbox_mAP_50'], True),
    (dict(metric=['bbox', 'segm'], prefix='mine'), ['mine/bbox_mAP', 'mine/segm_mAP_l'], True),
    (dict(metric='proposal'), [], False)])
def test_what_a_coco_evaluator_gives_is_known_without_a_detection(evaluator, names, complete):
    pytest.importorskip('mmdet')
    from mmengine.config import Config

    from tricks_plugin.ablate.mm import metric_of
    cfg = Config(dict(val_evaluator=dict(type='CocoMetric', **evaluator)))
    assert metric_of(cfg, None) == (names[0] if names else None)
    for name in names:
        assert metric_of(cfg, name) == name
    if complete:
        with pytest.raises(TrickError, match='unknown metric'):
            metric_of(cfg, 'coco/cell_precision')
    else:
        assert metric_of(cfg, 'coco/cell_precision') == 'coco/cell_precision'


def test_leave_one_out_leaves_out_what_nobody_would_miss(plan):
    found = plan('--tricks', 'cosine_warmup,sync_bn,ema', '--mode', 'leave-one-out')
    assert [one.rung.name for one in found.planned['x']] == [
        'plain', 'all', 'without_cosine_warmup', 'without_ema']
    assert found.study.notes[0].startswith('sync_bn changes nothing here (a single process')
