"""Timers in mmengine's datasets: through wrappers, reading apart from decoding."""

from __future__ import annotations

import json
import time

import cv2
import mmengine.fileio as fileio
import numpy as np
import pytest
from mmengine.dataset import pseudo_collate
from mmengine.fileio import LocalBackend, register_backend
from mmengine.fileio.backends import backends
from mmengine.registry import DATASETS, init_default_scope
from torch.utils.data import DataLoader

from tricks_plugin.common.sample_times import measure, probe_now
from tricks_plugin.common.step_timer import StepTimer
from tricks_plugin.mm.sample_times import TimedBackend, instrument, pipeline_of


class CountingBackend(LocalBackend):
    """Counts what it reads."""

    read = 0

    def get(self, filepath):
        type(self).read += 1
        time.sleep(0.01)
        return super().get(filepath)


@pytest.fixture(autouse=True)
def _backend():
    register_backend('counting', CountingBackend)
    CountingBackend.read = 0
    yield
    backends.pop('counting')


@pytest.fixture()
def coco(tmp_path):
    """Four images of 40x30 with a box each, as the settings of a dataset."""
    images, boxes = [], []
    for index in range(4):
        cv2.imwrite(str(tmp_path / f'{index}.png'), np.full((30, 40, 3), index, np.uint8))
        images.append(dict(id=index, file_name=f'{index}.png', width=40, height=30))
        boxes.append(dict(id=index, image_id=index, category_id=1, bbox=[1, 2, 9, 8], area=72,
                          iscrowd=0))
    (tmp_path / 'train.json').write_text(json.dumps(dict(
        images=images, annotations=boxes, categories=[dict(id=1, name='thing')])))
    init_default_scope('mmdet')

    def settings(*steps, **args):
        return dict(type='mmdet.CocoDataset', data_root=str(tmp_path), ann_file='train.json',
                    data_prefix=dict(img=''), metainfo=dict(classes=('thing',)), pipeline=[
                        dict(type='LoadImageFromFile', **args),
                        dict(type='LoadAnnotations', with_bbox=True), *steps])
    return settings


def names(times):
    return [part.name for part in times.parts]


@pytest.mark.slow
def test_the_parts_of_nested_wrappers_are_found_and_add_up(coco):
    half = coco(dict(type='Resize', scale=(20, 15)), backend_args=dict(backend='counting'))
    dataset = DATASETS.build(dict(
        type='RepeatDataset', times=2, dataset=dict(type='ConcatDataset', datasets=[
            half, coco(dict(type='RandomFlip', prob=1.0))])))
    assert pipeline_of(dataset) == [
        'LoadImageFromFile(counting)', 'LoadAnnotations', 'Resize', 'LoadImageFromFile',
        'LoadAnnotations', 'RandomFlip']
    times = measure(dataset, [[0, 1], [4, 5]], pseudo_collate, instrument)
    assert names(times) == [
        'RepeatDataset', 'LoadImageFromFile: reading', 'LoadImageFromFile', 'LoadAnnotations',
        'Resize', 'LoadImageFromFile (2): reading', 'LoadImageFromFile (2)', 'LoadAnnotations (2)',
        'RandomFlip', 'pseudo_collate']
    assert CountingBackend.read == 3  # samples 0 and 1, and 0 once before
    assert times.seconds == pytest.approx(sum(times.parts.values()), rel=1e-12)
    kinds = {part.name: part.kind for part in times.parts}
    assert kinds['LoadImageFromFile'] == kinds['LoadImageFromFile (2)'] == 'decoding'
    # Two of four samples read for at least 10 ms.
    assert times.of_kind('reading') >= 0.005


def test_partners_and_their_mixing_belong_to_the_sample(coco):
    dataset = DATASETS.build(dict(
        type='mmdet.MultiImageMixDataset', dataset=coco(backend_args=dict(backend='counting')),
        pipeline=[dict(type='mmdet.Mosaic', img_scale=(16, 16), prob=1.0),
                  dict(type='mmdet.MixUp', img_scale=(16, 16)), dict(type='mmdet.PackDetInputs')]))
    times = measure(dataset, [[0], [1]], pseudo_collate, instrument)
    assert names(times) == [
        'MultiImageMixDataset', 'LoadImageFromFile: reading', 'LoadImageFromFile',
        'LoadAnnotations', 'Mosaic', 'MixUp', 'PackDetInputs', 'pseudo_collate']
    # In each of 3 samples: the image, three more of the mosaic, and mmdet's MixUp reads its partner
    # twice, once to see whether it has boxes.
    assert CountingBackend.read == 18


@pytest.mark.slow
def test_mixup_finds_its_partners_under_the_timer(coco):
    dataset = DATASETS.build(coco(
        dict(type='tricks_plugin.GeometryPreservingMixUp', partner='dataset', prob=1.0),
        dict(type='tricks_plugin.PackWeightedDetInputs'), backend_args=dict(backend='counting')))
    times = probe_now(DataLoader(dataset, batch_size=2, num_workers=1, collate_fn=pseudo_collate),
                      instrument, 4)
    assert times.samples == 4
    parts = {part.name: seconds for part, seconds in times.parts.items()}
    # Each sample reads its partner as well: two times 10 ms, but where it is mixed with itself.
    assert parts['LoadImageFromFile: reading'] > 0.0149
    assert CountingBackend.read == 0  # in this process
    assert pipeline_of(dataset)[0] == 'LoadImageFromFile(counting)'  # and nothing has changed


def test_the_backend_reads_what_the_one_inside_reads(tmp_path):
    path = tmp_path / 'file.txt'
    path.write_bytes(b'words')
    for inner in (None, dict(backend='local'), dict(backend='counting')):
        args = dict(backend='tricks_plugin.timed', inner=inner)
        assert fileio.get(path, backend_args=args) == b'words'
        assert fileio.get_text(path, backend_args=args) == 'words'
        assert fileio.exists(path, backend_args=args) and not fileio.isdir(path, backend_args=args)
        assert fileio.join_path('a', 'b', backend_args=args) == 'a/b'
    backend = TimedBackend(dict(backend='counting'))
    instrument(None, timer := StepTimer())
    backend.get(path)
    assert [(part.name, part.kind) for part in timer.seconds] == [('reading', 'reading')]
    with pytest.raises(FileNotFoundError):
        backend.get(tmp_path / 'none')


def test_samples_that_fail_are_one_line(coco, tmp_path):
    dataset = DATASETS.build(coco())
    (tmp_path / '0.png').unlink()
    with pytest.raises(RuntimeError, match=r'FileNotFoundError: .*0\.png') as error:
        probe_now(DataLoader(dataset, batch_size=2, collate_fn=pseudo_collate), instrument, 2)
    assert '\n' not in str(error.value)
