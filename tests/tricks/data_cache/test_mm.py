"""The config edit: which transforms, through which wrappers, what is said; and trainings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS, TRANSFORMS
from mmengine.runner import Runner
from support.data_cache import write_jpegs

import tricks_plugin
from tricks_plugin.mm.config_edit import plain
from tricks_plugin.plan import TRICKS
from tricks_plugin.plan.errors import TrickError
from tricks_plugin.tricks.data_cache import mm, survey
from tricks_plugin.tricks.data_cache.survey import Needs, Room

pytestmark = pytest.mark.slow


@DATASETS.register_module()
class CacheTestImages(BaseDataset):
    """The JPEGs of a folder."""

    def load_data_list(self):
        return [{'img_path': str(path), 'label': number} for number, path in enumerate(
            sorted(Path(self.data_root).glob('*.jpg')))]


@TRANSFORMS.register_module()
class CacheTestLoader(LoadImageFromFile):
    """A loader of the user's."""


@TRANSFORMS.register_module()
class CacheTestPack:
    """The mean of an image."""

    def __call__(self, results):
        return {'inputs': torch.tensor([float(results['img'].mean())])}


@MODELS.register_module()
class CacheTestModel(BaseModel):
    """Learns nothing."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, inputs, mode='loss'):
        return {'loss': (self.weight * torch.stack(list(inputs))).mean()}


LOAD = dict(type='LoadImageFromFile')


def config(folder, loader=None, dataset=None, **more):
    """A config that trains two epochs."""
    own = dict(type='CacheTestImages', data_root=str(folder),
               pipeline=[loader or dict(LOAD), dict(type='CacheTestPack')])
    return dict(
        default_scope='mmengine', model=dict(type='CacheTestModel'),
        train_dataloader=dict(batch_size=2, num_workers=2, persistent_workers=True,
                              sampler=dict(type='DefaultSampler', shuffle=True),
                              dataset=dataset or own),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.0)), **more)


def planned(cfg, **params):
    """The verdict; a second application changes nothing."""
    trick = TRICKS.get('data_cache')
    verdict = trick.from_dict(params).apply(cfg)
    if verdict.status == 'applied':
        before = json.dumps(cfg)
        again = trick.from_dict(params).apply(cfg)
        assert again.status == 'present' and json.dumps(cfg) == before
        assert again.promise == verdict.promise
    return verdict


def loader_of(cfg):
    return cfg['train_dataloader']['dataset']['pipeline'][0]


def test_a_set_that_fits_is_decoded_and_the_needs_are_measured(tmp_path, cache_folder):
    write_jpegs(tmp_path, 6)  # 40 high, 40 to 45 wide: at most 5400 bytes, two pages
    cfg = config(tmp_path)
    verdict = planned(cfg, folder=cache_folder, budget_mb=3)
    assert loader_of(cfg) == dict(type='tricks_plugin.LoadCachedImage', level='decoded',
                                  folder=cache_folder, budget_mb=3)
    # Files of 1.7 to 1.8 kB and their headers take a page each.
    assert verdict.reason == (
        'decoded; 6 files (all read) need 0.0246 MB encoded and 0.0492 MB decoded; the '
        f'budget of {cache_folder} is 3 MB: decoded, all of it fits')
    assert not Path(cache_folder).exists()


def test_maps_of_segments_are_said_not_to_be_counted(tmp_path, cache_folder):
    write_jpegs(tmp_path, 2)
    cfg = config(tmp_path)
    pipeline = cfg['train_dataloader']['dataset']['pipeline']
    pipeline.insert(1, dict(type='mmdet.LoadAnnotations', with_seg=True))
    verdict = planned(cfg, folder=cache_folder, budget_mb=3)
    assert pipeline[1]['backend_args']['backend'] == 'cached'
    assert verdict.reason.endswith(
        'all of it fits; the maps of segments are kept too, and not counted')


def test_a_set_that_does_not_fit_decoded_is_encoded_and_the_share_is_told(tmp_path, cache_folder):
    write_jpegs(tmp_path, 4, side=800)
    cfg = config(tmp_path)
    verdict = planned(cfg, folder=cache_folder, budget_mb=1)
    assert loader_of(cfg) == dict(LOAD, backend_args=dict(
        backend='cached', folder=cache_folder, budget_mb=1))
    encoded = sum(-(-(path.stat().st_size + 128) // 4096) * 4096
                  for path in tmp_path.glob('*.jpg'))
    assert f'encoded, {1e6 / encoded:.0%} of it fits, and the rest is read from the source' in \
        verdict.reason


@pytest.mark.parametrize(('bytes_each', 'pages'), [(3968, 1), (3969, 2), (8064, 2), (1, 1)])
def test_needs_count_the_header_and_whole_pages_of_every_entry(bytes_each, pages):
    # 150 files; a header has 128 bytes, a page 4096
    needs = survey.measure(range(150), lambda number: bytes(bytes_each),
                           lambda data: np.zeros(2 * len(data), np.uint8))
    assert (needs.sampled, needs.encoded) == (24, 150 * 4096 * pages)
    assert needs.decoded == 150 * (-(-(2 * bytes_each + 128) // 4096) * 4096)
    assert Room('x', needs.encoded).words(needs, 'encoded').endswith('all of it fits')
    assert 'and the rest is read from the source' in Room('x', needs.encoded - 1).words(
        needs, 'encoded')


def test_a_budget_that_the_disk_has_not_is_not_believed(tmp_path):
    needs = survey.Needs(10, 10, 4_000_000, 8_000_000, 1.0)
    room = Room('x', 8_000_000, 2_000_000)
    assert room.share(needs.encoded) == 0.5
    assert room.words(needs, 'encoded') == (
        'the budget of x is 8 MB, of which its file system leaves 2 MB: encoded, 50% of it fits, '
        'and the rest is read from the source')
    assert Room('x', 8_000_000, 9_000_000).words(needs, 'decoded') == \
        'the budget of x is 8 MB: decoded, all of it fits'
    named = survey.room_in(str(tmp_path / 'cache'), 1e15)  # a thousand exabytes
    assert named.holds == named.space < named.budget


@pytest.mark.parametrize(('own', 'inner'), [
    (dict(backend_args=None), None), (dict(backend_args=dict(backend='local')), 'local'),
    (dict(file_client_args=dict(backend='disk')), 'local')])
@pytest.mark.parametrize('level', ['encoded', 'decoded'])
def test_the_users_backend_stays_as_the_inner_one(tmp_path, own, inner, level):
    write_jpegs(tmp_path, 2)
    cfg = config(tmp_path, dict(LOAD, to_float32=True, **own))
    assert planned(cfg, level=level).status == 'applied'
    node = loader_of(cfg)
    assert node['to_float32'] is True and 'file_client_args' not in node
    found = node.get('backend_args')
    if level == 'encoded':
        assert found.pop('backend') == 'cached'
        assert found == ({} if inner is None else {'inner': {'backend': inner}})
    else:
        assert found == (None if inner is None else {'backend': inner})


def test_a_loader_of_the_users_own_keeps_its_class(tmp_path):
    write_jpegs(tmp_path, 2)
    cfg = config(tmp_path, dict(type='CacheTestLoader'))
    assert planned(cfg, level='decoded').reason.startswith('encoded;')
    assert loader_of(cfg) == dict(type='CacheTestLoader', backend_args=dict(backend='cached'))


@pytest.mark.parametrize(('where', 'method'), [
    ('env_cfg', 'forkserver'), ('train_dataloader', 'spawn')])
def test_workers_that_are_no_forks_know_the_backend_by_a_class_or_not_at_all(
        tmp_path, where, method):
    write_jpegs(tmp_path, 2)

    def started(loader, workers=2):
        cfg = config(tmp_path, loader)
        cfg['val_dataloader'] = dict(num_workers=workers, dataset=dict(
            type='CacheTestImages', data_root=str(tmp_path), pipeline=[dict(LOAD)]))
        cfg['train_dataloader']['num_workers'] = workers
        if where == 'env_cfg':
            cfg[where] = dict(mp_cfg=dict(mp_start_method=method))
        else:
            cfg[where]['multiprocessing_context'] = method
        return cfg

    cfg = started(dict(LOAD))
    assert planned(cfg, level='encoded').status == 'applied'
    assert loader_of(cfg)['type'] == 'tricks_plugin.LoadCachedImage'
    cfg = started(dict(type='CacheTestLoader'))
    verdict = planned(cfg)
    assert verdict.status == 'not_applicable' and verdict.reason == (
        'train_dataloader.dataset.pipeline[0] keeps its class, and its workers, which start by '
        f'{method!r}, know the storage backend only by a class of this package')
    cfg = started(dict(type='CacheTestLoader'), workers=0)
    assert planned(cfg, level='encoded').status == 'applied'


def test_a_validation_that_cannot_know_the_backend_is_left_out(tmp_path):
    write_jpegs(tmp_path, 2)
    cfg = config(tmp_path)
    cfg['val_dataloader'] = dict(num_workers=1, multiprocessing_context='spawn', dataset=dict(
        type='CacheTestImages', data_root=str(tmp_path), pipeline=[dict(type='CacheTestLoader')]))
    before = json.dumps(cfg['val_dataloader'])
    verdict = planned(cfg)
    assert verdict.status == 'applied' and verdict.reason.endswith(
        "know the storage backend only by a class of this package, so it is not cached")
    assert json.dumps(cfg['val_dataloader']) == before
    assert loader_of(cfg)['type'] == 'tricks_plugin.LoadCachedImage'


def test_every_wrapper_validation_and_the_second_stage_are_reached(tmp_path):
    write_jpegs(tmp_path, 2)

    def own(name):
        (tmp_path / name).mkdir()
        write_jpegs(tmp_path / name, 2)
        return dict(type='CacheTestImages', data_root=str(tmp_path / name),
                    pipeline=[dict(LOAD), dict(type='LoadAnnotations', with_seg=True)])

    cfg = config(tmp_path, dataset=dict(
        type='mmdet.MultiImageMixDataset', pipeline=[dict(type='mmdet.Mosaic')], dataset=dict(
            type='ConcatDataset', datasets=[
                own('a'), dict(type='RepeatDataset', times=2, dataset=own('b'))])))
    cfg['val_dataloader'] = dict(dataset=own('c'))
    cfg['custom_hooks'] = [dict(type='mmdet.PipelineSwitchHook', switch_epoch=1,
                                switch_pipeline=[dict(LOAD), dict(type='CacheTestPack')])]
    cfg['test_dataloader'] = dict(dataset=dict(type='CacheTestImages', pipeline=[dict(LOAD)]))
    verdict = planned(cfg)
    assert '6 files' in verdict.reason
    text = json.dumps({key: value for key, value in cfg.items() if key != 'test_dataloader'})
    assert text.count('LoadCachedImage') == 4 and 'LoadImageFromFile' not in text
    assert text.count('"backend": "cached"') == 3  # the maps of LoadAnnotations
    assert 'LoadCachedImage' not in json.dumps(cfg['test_dataloader'])


PYTHON = """from mmengine.config import read_base
from mmcv.transforms import LoadImageFromFile
from mmdet.datasets import CocoDataset
train_dataloader = dict(dataset=dict(type=CocoDataset, ann_file='none.json', pipeline=[
    dict(type=LoadImageFromFile, backend_args=None)]))
"""


def test_text_and_python_configs(zoo, tmp_path):
    (tmp_path / 'lazy.py').write_text(PYTHON)
    for path in (zoo / 'yolo/yolov3_d53_8xb8-ms-416-273e_coco.py', tmp_path / 'lazy.py'):
        cfg = plain(Config.fromfile(path))
        verdict = planned(cfg)
        assert verdict.status == 'applied' and '.json is not here' in verdict.reason
        assert loader_of(cfg)['backend_args'] == {'backend': 'cached'}


@pytest.mark.parametrize(('cfg', 'words'), [
    ({}, 'the config has no training images'),
    ({'train_dataloader': {'dataset': {'type': 'X', 'pipeline': [
        {'type': 'mmdet.LoadImageFromNDArray'}]}}}, 'no transform below train_dataloader.dataset'),
    ({'train_dataloader': {'dataset': 3}}, 'no transform below')])
def test_configs_that_read_no_images_get_a_reason(cfg, words):
    verdict = planned(cfg)
    assert verdict.status == 'not_applicable' and words in verdict.reason


@pytest.mark.parametrize(('params', 'words'), [
    ({'level': 'raw'}, "tricks.data_cache.level must be one of .*'encoded', 'decoded'.*got 'raw'"),
    ({'budget_mb': 0}, 'tricks.data_cache.budget_mb must be >= 1, got 0'),
    ({'folder': 3}, 'tricks.data_cache.folder must be of type')])
def test_wrong_parameters_are_refused(params, words):
    with pytest.raises(TrickError, match=words):
        TRICKS.get('data_cache').from_dict(params)


def test_damaged_images_are_said_and_the_cache_is_planned(tmp_path):
    (tmp_path / 'x.jpg').write_bytes(b'no image')
    cfg = config(tmp_path)
    assert 'what the set needs is not known: ' in planned(cfg).reason


GB = 10 ** 9
NEEDS = Needs(1000, 24, 1 * GB, 20 * GB, 5.0)


@pytest.mark.parametrize(('needs', 'budget', 'source', 'words'), [
    (NEEDS, 30 * GB, '', None),  # all of it fits decoded
    (NEEDS, 5 * GB, '', 'not known to be slow'),
    (NEEDS, 5 * GB, 'the images lie on a network file system (nfs4)', None),
    (NEEDS, GB // 5, 'the images lie on a network file system (nfs4)', '20% of it fits'),
    (NEEDS, 5 * GB, 'the images lie on a rotating disk (/dev/sda)', 'after the first epoch'),
    (Needs(1000, 24, 90 * GB, 900 * GB, 5.0), 50 * GB,
     'the images lie on a rotating disk (/dev/sda)', None),
    (None, 5 * GB, '', 'whether it would pay is not known: x')])
def test_a_recipe_holds_back_where_it_would_bring_little(
        monkeypatch, tmp_path, needs, budget, source, words):
    monkeypatch.setattr(mm, '_look', lambda cfg, plain, folder: (needs, source, 'x'))
    monkeypatch.setattr(mm, 'room_in', lambda folder, mb: Room(folder, budget))
    monkeypatch.setattr(survey, 'available_memory', lambda: 4 * GB)
    _, plan = tricks_plugin.apply_tricks(Config(config(tmp_path)), 'fast')
    row = plan['data_cache']
    assert row.status == ('applied' if words is None else 'held_back')
    if words is not None:
        assert words in row.reason
        assert row.reason.endswith('tricks.data_cache=True (or --tricks ...,data_cache) applies it '
                                   'all the same')
    _, plan = tricks_plugin.apply_tricks(Config(config(tmp_path)), 'fast,data_cache')
    assert plan['data_cache'].status == 'applied'


def trained(tmp_path, cfg, tricks):
    effective, plan = tricks_plugin.apply_tricks(Config(cfg), tricks)
    effective.work_dir = str(tmp_path / 'work')
    effective.log_level = 'ERROR'
    effective.experiment_name = f'cache_{tmp_path.name}'
    runner = Runner.from_cfg(effective)
    runner.train()
    return json.loads((tmp_path / 'work' / 'tricks_evidence.json').read_text()), plan, effective


@pytest.mark.parametrize('level', ['encoded', 'decoded'])
def test_a_training_with_workers_reads_its_second_epoch_from_the_cache(
        tmp_path, cache_folder, level):
    write_jpegs(tmp_path / 'images', 8)
    cfg = config(tmp_path / 'images')
    report, _, effective = trained(
        tmp_path, cfg, {'data_cache': dict(level=level, folder=cache_folder, budget_mb=5)})
    (row,) = report['tricks']
    # Workers fetch ahead, but no further than the end of the epoch.
    assert row['live'] is True and row['values']['hits'] == row['values']['misses'] == 8
    assert row['values']['entries'] == 8 and '8 of 16 in all' in row['measured']
    first = report['history'][0]['tricks'][0]
    assert first['live'] is None
    # The same again finds everything there; the dumped config is enough.
    effective.dump(tmp_path / 'effective.py')
    again = Config.fromfile(tmp_path / 'effective.py')
    again.work_dir = str(tmp_path / 'again')
    again.experiment_name = f'again_{tmp_path.name}'
    Runner.from_cfg(again).train()
    (row,) = json.loads((tmp_path / 'again' / 'tricks_evidence.json').read_text())['tricks']
    assert (row['values']['hits'], row['values']['misses']) == (16, 0)


def test_a_stock_runner_with_the_backend_alone_logs_that_the_budget_is_full(
        tmp_path, cache_folder):
    write_jpegs(tmp_path / 'images', 8)  # a page each
    cfg = config(tmp_path / 'images', dict(LOAD, backend_args=dict(
        backend='cached', folder=cache_folder, budget_mb=3 * 4096 / 1e6)))
    cfg.update(work_dir=str(tmp_path / 'work'), experiment_name=f'stock_{tmp_path.name}')
    Runner.from_cfg(Config(cfg)).train()
    (log,) = (tmp_path / 'work').glob('*/*.log')
    lines = [line for line in log.read_text().splitlines() if 'is full' in line]
    assert lines and ' - INFO - data_cache: the budget of ' in lines[0]
    assert 'it keeps 3 files, 0.0123 MB of 0.0123 MB, which is some ' in lines[0]


def test_a_cache_that_is_never_asked_is_dead(tmp_path, cache_folder):
    write_jpegs(tmp_path / 'images', 4)
    effective, _ = tricks_plugin.apply_tricks(
        Config(config(tmp_path / 'images')), {'data_cache': dict(folder=cache_folder)})
    effective.train_dataloader.dataset.pipeline[0] = dict(LOAD)
    report, _, _ = trained(tmp_path, plain(effective), {})
    (row,) = report['tricks']
    assert row['live'] is False and row['measured'] == 'the cache was never asked'
