"""Parts of a config are found by class, through any wrapping."""

from __future__ import annotations

import pytest
from mmengine.config import Config

from tricks_plugin.mm import config_edit as edit

HEAD = 'mmdet.models.dense_heads.yolo_head.YOLOV3Head'


@pytest.mark.parametrize('kind', [
    'YOLOV3Head', 'mmdet.YOLOV3Head', 'mmdet.models.YOLOV3Head', HEAD,
])
def test_a_class_is_recognised_in_every_spelling(kind):
    assert edit.is_a({'type': kind}, 'YOLOV3Head')
    assert edit.is_a({'type': kind}, 'BaseDenseHead')
    assert not edit.is_a({'type': kind}, 'AnchorHead')


def test_classes_and_lazy_objects_become_their_import_path(tmp_path):
    from mmdet.models import YOLOV3Head
    assert edit.plain(Config({'head': {'type': YOLOV3Head}}))['head']['type'] == HEAD
    lazy = tmp_path / 'lazy.py'
    lazy.write_text('from mmdet.models import YOLOV3Head\nhead = dict(type=YOLOV3Head)\n')
    tree = edit.plain(Config.fromfile(lazy).to_dict())
    assert edit.is_a(tree['head'], 'YOLOV3Head')


def test_a_users_subclass_counts_and_an_unknown_class_is_judged_by_name():
    from mmdet.models import YOLOV3Head
    from mmdet.registry import MODELS

    @MODELS.register_module()
    class MyOwnYOLOHead(YOLOV3Head):
        pass

    try:
        assert edit.is_a({'type': 'MyOwnYOLOHead'}, 'YOLOV3Head')
    finally:
        MODELS._module_dict.pop('MyOwnYOLOHead')
    assert edit.is_a({'type': 'NeverRegistered'}, 'NeverRegistered')
    assert not edit.is_a({'type': 'NeverRegistered'}, 'YOLOV3Head')


def test_plain_copies_share_nothing():
    shared = [{'type': 'Load'}]
    tree = edit.plain({'a': shared, 'b': (shared, shared)})
    tree['a'].append(1)
    assert tree['b'] == ([{'type': 'Load'}], [{'type': 'Load'}])
    assert tree['b'][0] is not tree['b'][1]
    again = edit.copy_plain(tree)
    again['a'][0]['type'] = 'Other'
    assert tree['a'][0]['type'] == 'Load'


def test_training_pipelines_are_found_through_nested_wrappers():
    def leaf(name):
        return {'type': 'CocoDataset', 'pipeline': [{'type': name}]}
    cfg = {'train_dataloader': {'dataset': {
        'type': 'MultiImageMixDataset', 'pipeline': [{'type': 'Outer'}],
        'dataset': {'type': 'RepeatDataset', 'times': 3, 'dataset': {
            'type': 'ConcatDataset', 'datasets': [
                leaf('A'), {'type': 'ClassBalancedDataset', 'dataset': leaf('B')}]}}}}}
    found = edit.train_pipelines(cfg)
    base = 'train_dataloader.dataset'
    assert [p.path for p in found] == [
        f'{base}.pipeline', f'{base}.dataset.dataset.datasets[0].pipeline',
        f'{base}.dataset.dataset.datasets[1].dataset.pipeline']
    found[2].steps = [{'type': 'New'}]
    inner = cfg['train_dataloader']['dataset']['dataset']['dataset']['datasets'][1]['dataset']
    assert inner['pipeline'] == [{'type': 'New'}]


@pytest.mark.parametrize('cfg', [
    {}, {'train_dataloader': None}, {'train_dataloader': {'dataset': None}},
    {'train_dataloader': 3}, {'train_dataloader': {'dataset': {'pipeline': None}}},
])
def test_missing_sections_are_no_error(cfg):
    assert edit.train_pipelines(cfg) == []
    assert edit.optim_wrappers(cfg) == []
    assert edit.run_length(cfg) is None


def test_optimizer_wrappers_single_and_named():
    single = {'optim_wrapper': {'optimizer': {'type': 'SGD'}}}
    assert [path for path, _ in edit.optim_wrappers(single)] == ['optim_wrapper']
    named = {'optim_wrapper': {'constructor': 'Mine', 'gen': single['optim_wrapper'],
                               'dis': single['optim_wrapper'], 'other': 3}}
    assert [path for path, _ in edit.optim_wrappers(named)] == [
        'optim_wrapper.gen', 'optim_wrapper.dis']


@pytest.mark.parametrize('loop, expected', [
    ({'type': 'EpochBasedTrainLoop', 'max_epochs': 12}, (12, True)),
    ({'by_epoch': True, 'max_epochs': 7}, (7, True)),
    ({'type': 'IterBasedTrainLoop', 'max_iters': 900}, (900, False)),
    ({'type': 'mmengine.runner.loops.IterBasedTrainLoop', 'max_iters': 900}, (900, False)),
    ({'by_epoch': False, 'max_iters': 50}, (50, False)),
    ({'max_iters': 60}, (60, False)),
    ({'type': 'EpochBasedTrainLoop'}, None),
])
def test_run_length_of_every_loop(loop, expected):
    length = edit.run_length({'train_cfg': loop})
    assert (length and (length.value, length.by_epoch)) == expected


def test_get_returns_the_default_past_a_missing_part():
    assert edit.get({'a': {'b': 3}}, 'a.b') == 3
    assert edit.get({'a': {'b': 3}}, 'a.b.c', 5) == 5
    assert edit.get({}, 'a.b') is None


def test_hooks_are_found_among_the_custom_and_the_default_ones():
    from tricks_plugin.mm.config_edit import find_hooks, train_pipelines
    from tricks_plugin.mm.joining import replacing_hook
    switch = dict(type='PipelineSwitchHook', switch_epoch=7, switch_pipeline=[])
    cfg = dict(default_scope='mmdet', custom_hooks=[dict(type='NumClassCheckHook')],
               default_hooks=dict(timer=dict(type='IterTimerHook'), switch=switch, none=None),
               train_dataloader=dict(dataset=dict(type='CocoDataset', pipeline=[])),
               train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=10))
    assert list(find_hooks(cfg, 'PipelineSwitchHook')) == [('default_hooks.switch', switch)]
    assert [path for path, _ in find_hooks(cfg, 'NumClassCheckHook', 'IterTimerHook')] == [
        'custom_hooks[0]', 'default_hooks.timer']
    assert replacing_hook(cfg, train_pipelines(cfg)) == ('default_hooks.switch', 7)
