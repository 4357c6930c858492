"""apply_tricks: a new config, the plan, and nothing else."""

from __future__ import annotations

import copy

import pytest
from mmengine.config import Config

import tricks_plugin
from tricks_plugin.mm.config_edit import plain
from tricks_plugin.plan import same

YOLO = 'yolo/yolov3_d53_8xb8-ms-608-273e_coco.py'
BAG = {'linear_lr', 'cosine_warmup', 'no_bias_decay', 'label_smoothing', 'mixup', 'sync_bn',
       'random_shapes', 'finite_guard', 'data_monitor'}


def statuses(plan):
    return {row.name: row.status for row in plan.tricks}


def test_the_input_is_not_changed_and_the_effective_config_is_ordinary(zoo):
    cfg = Config.fromfile(zoo / YOLO)
    cfg.tricks = 'bag_of_freebies'
    cfg.runner_type = 'tricks_plugin.TricksRunner'
    before = copy.deepcopy(cfg.to_dict())
    effective, plan = tricks_plugin.apply_tricks(cfg)
    assert same(cfg.to_dict(), before)
    assert 'tricks' not in effective and 'runner_type' not in effective
    applied = {name for name, status in statuses(plan).items() if status == 'applied'}
    assert set(effective.tricks_applied) == applied
    assert set(statuses(plan)) == BAG
    assert effective.filename == cfg.filename


@pytest.mark.slow
def test_the_effective_config_reloads_equal_and_a_second_application_changes_nothing(
        zoo, tmp_path):
    effective, _ = tricks_plugin.apply_tricks(Config.fromfile(zoo / YOLO), 'bag_of_freebies')
    effective.dump(tmp_path / 'effective.py')
    reloaded = Config.fromfile(tmp_path / 'effective.py')
    assert same(plain(reloaded), plain(effective))
    again, plan = tricks_plugin.apply_tricks(reloaded, 'bag_of_freebies')
    assert same(plain(again), plain(reloaded))
    assert 'applied' not in statuses(plan).values()
    untouched, empty = tricks_plugin.apply_tricks(reloaded)
    assert same(plain(untouched), plain(reloaded)) and empty.tricks == ()


def test_the_changes_of_all_rows_together_turn_before_into_after(zoo):
    effective, plan = tricks_plugin.apply_tricks(Config.fromfile(zoo / YOLO), 'bag_of_freebies')
    paths = {change.path for row in plan.tricks for change in row.changes}
    assert 'optim_wrapper.optimizer.lr' in paths
    assert any(path.startswith('train_dataloader.dataset.pipeline[') for path in paths)
    assert any(path.startswith('param_scheduler[') for path in paths)
    assert any('one_hot_smoother' in path for path in paths)
    assert not any(path.startswith('tricks_applied') for path in paths)
    assert plan.before != plan.after
    assert same(plan.after, plain(effective))


def test_a_dropped_trick_is_not_in_the_plan(zoo):
    cfg = Config.fromfile(zoo / YOLO)
    _, plan = tricks_plugin.apply_tricks(cfg, {'recipe': 'bag_of_freebies', 'mixup': False})
    assert set(statuses(plan)) == BAG - {'mixup'}


def test_tricks_in_the_config_and_beside_it_are_refused(toy):
    cfg = Config({'number': 3, 'tricks': 'toy'})
    with pytest.raises(tricks_plugin.TrickError, match='tricks are given twice'):
        tricks_plugin.apply_tricks(cfg, 'toy')


def test_no_config_is_refused():
    with pytest.raises(TypeError, match='must be an mmengine Config, got dict'):
        tricks_plugin.apply_tricks({'number': 3}, 'mixup')


def test_an_edit_that_is_not_applied_is_dropped(toy):
    class Sloppy(toy):
        name = 'sloppy'

        def apply(self, cfg):
            cfg['number'] = 99
            return tricks_plugin.Verdict.not_applicable('no reason at all')

    tricks_plugin.TRICKS.register(Sloppy)
    try:
        effective, plan = tricks_plugin.apply_tricks(Config({'number': 3}), 'sloppy')
    finally:
        tricks_plugin.TRICKS.unregister('sloppy')
    assert effective.number == 3
    assert plan['sloppy'].changes == () and plan['sloppy'].reason == 'no reason at all'


def test_applied_without_a_change_is_reported_as_present(toy):
    class Idle(toy):
        name = 'idle'

        def apply(self, cfg):
            return tricks_plugin.Verdict.applied()

    tricks_plugin.TRICKS.register(Idle)
    try:
        _, plan = tricks_plugin.apply_tricks(Config({'number': 3}), 'idle')
    finally:
        tricks_plugin.TRICKS.unregister('idle')
    assert plan['idle'].status == 'present' and plan['idle'].reason


def test_changes_are_computed_and_the_evidence_hook_is_added_once(toy):
    first, plan = tricks_plugin.apply_tricks(Config({'number': 3}), {'toy': {'factor': 4}})
    rows = [(c.path, c.to_dict()['before'], c.after) for c in plan['toy'].changes]
    assert rows == [('number', 3, 12), ('multiplied', None, True)]
    assert first.tricks_applied == {'toy': {'factor': 4, 'mode': 'plain'}}
    hook = {'type': 'tricks_plugin.TrickEvidenceHook', 'strict': False,
            'tricks': [{'name': 'toy', 'promise': {'wanted': 12}}]}
    assert first.custom_hooks == [hook]
    first.multiplied = False
    second, _ = tricks_plugin.apply_tricks(first, {'toy': {'factor': 2}, 'strict': True})
    assert [item.tricks for item in second.custom_hooks] == [
        [{'name': 'toy', 'promise': {'wanted': 24}}]]
    assert second.custom_hooks[0].strict is True


@pytest.mark.parametrize('cfg', [
    {}, {'model': {'type': 'YOLOV3'}}, {'train_dataloader': {}, 'optim_wrapper': {}},
    {'model': None, 'train_dataloader': None, 'optim_wrapper': None, 'param_scheduler': None,
     'train_cfg': None, 'custom_hooks': None},
    {'model': 3, 'train_dataloader': 3, 'optim_wrapper': 3, 'param_scheduler': 3, 'train_cfg': 3},
    {'model': [], 'train_dataloader': [], 'optim_wrapper': [], 'param_scheduler': []},
])
def test_a_config_without_its_sections_gets_verdicts_with_reasons(cfg):
    effective, plan = tricks_plugin.apply_tricks(Config(cfg), 'bag_of_freebies')
    assert set(statuses(plan)) == BAG
    assert set(statuses(plan).values()) == {'not_applicable'}
    assert all(row.reason for row in plan.tricks)
    assert same(plain(effective), plain(Config(cfg)))


def test_a_pure_python_config_is_planned_like_its_text_twin(tmp_path):
    body = '''
model = dict(type={yolo}, data_preprocessor=dict(type='DetDataPreprocessor', pad_size_divisor=32),
             backbone=dict(type='MobileNetV2', out_indices=(2, 4, 6)),
             bbox_head=dict(type={head}, num_classes=3, in_channels=[96, 96, 96],
                            out_channels=[96, 96, 96]))
train_dataloader = dict(batch_size=16, dataset=dict(type='CocoDataset', pipeline=[
    dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=(416, 416), keep_ratio=True), dict(type={pack})]))
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type={sgd}, lr=0.01, weight_decay=0.0005))
param_scheduler = [dict(type='MultiStepLR', by_epoch=True, milestones=[24, 28], gamma=0.1)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=30)
auto_scale_lr = dict(base_batch_size=64, enable=False)
default_scope = 'mmdet'
'''
    (tmp_path / 'text.py').write_text(body.format(
        yolo="'YOLOV3'", head="'YOLOV3Head'", pack="'PackDetInputs'", sgd="'SGD'"))
    (tmp_path / 'lazy.py').write_text(
        'from mmdet.datasets.transforms import PackDetInputs\nfrom mmdet.models import YOLOV3\n'
        'from mmdet.models import YOLOV3Head\nfrom torch.optim import SGD\n'
        + body.format(yolo='YOLOV3', head='YOLOV3Head', pack='PackDetInputs', sgd='SGD'))
    plans = []
    for name in ('text.py', 'lazy.py'):
        effective, plan = tricks_plugin.apply_tricks(
            Config.fromfile(tmp_path / name), 'bag_of_freebies')
        effective.dump(tmp_path / 'effective.py')
        assert same(plain(Config.fromfile(tmp_path / 'effective.py')), plain(effective))
        plans.append({row.name: (row.status, [c.path for c in row.changes])
                      for row in plan.tricks})
    assert plans[0] == plans[1]
    assert {status for status, _ in plans[0].values()} == {'applied'}
