"""Values of a user's own per box, through trainings: what the messages advise works."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from mmdet.datasets.transforms import LoadAnnotations, PackDetInputs
from mmdet.registry import TRANSFORMS
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.runner import Runner

import tricks_plugin
from tricks_plugin import PackWeightedDetInputs
from tricks_plugin.mm import classes
from tricks_plugin.plan.errors import TrickError

pytestmark = pytest.mark.slow


class LoadHeights(LoadAnnotations):
    """Loads a height beside each box."""

    def transform(self, results):
        results = super().transform(results)
        boxes = results['gt_bboxes'].tensor
        results['gt_heights'] = (boxes[:, 3] - boxes[:, 1]).numpy()
        return results


class PackHeights(PackDetInputs):
    mapping_table = {**PackDetInputs.mapping_table, 'gt_heights': 'heights'}


class PackHeightsDerived(PackWeightedDetInputs):
    mapping_table = PackHeights.mapping_table


class PackHeightsMapped(PackDetInputs):
    mapping_table = {**PackHeights.mapping_table, 'gt_mixup_weights': 'mixup_weights'}


KINDS = (LoadHeights, PackHeights, PackHeightsDerived, PackHeightsMapped)


class Nothing(BaseModel):
    """A model that costs nothing to train."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return dict(loss=self.scale.square().sum())


class Collect(Hook):
    """Keeps the data samples."""

    def __init__(self):
        self.samples = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.samples += data_batch['data_samples']


@pytest.fixture()
def config(train_config):
    """A function of the packing step: the config, to be told what the messages advise."""
    MODELS.register_module(name='NothingOfTest', module=Nothing)
    for kind in KINDS:
        TRANSFORMS.register_module(module=kind)

    def make(pack):
        cfg = Config(dict(train_config, model=dict(type='NothingOfTest'), tricks=dict(mixup=True)))
        cfg.train_dataloader.dataset.pipeline = [
            dict(type='LoadImageFromFile'), dict(type='LoadHeights', with_bbox=True), pack]
        cfg.train_cfg.max_epochs = 1
        return cfg

    yield make
    MODELS._module_dict.pop('NothingOfTest')
    for kind in KINDS:
        TRANSFORMS._module_dict.pop(kind.__name__)
        classes._found.pop((kind.__name__, 'mmdet'), None)


def advised(text, name='per_box'):
    """The option that a message names, as --cfg-options takes it."""
    key, value = re.search(rf"(tricks\.mixup\.{name})=\['(\w+)'\]", text).groups()
    return {key: [value]}


def plan(cfg):
    effective, plan = tricks_plugin.apply_tricks(cfg)
    return effective, next(row for row in plan.tricks if row.name == 'mixup')


def train(cfg, number):
    effective, row = plan(cfg)
    assert row.status == 'applied'
    effective.pop('runner_type', None)
    effective.experiment_name = f'declared-{number}-{id(cfg)}'
    runner, collect = Runner.from_cfg(effective), Collect()
    runner.register_hook(collect)
    runner.train()
    return collect.samples


def check(samples, heights):
    """Every box of a mixed sample has the height that it was loaded with."""
    assert len(samples) == 8
    for sample in samples:
        boxes = sample.gt_instances.bboxes
        boxes = getattr(boxes, 'tensor', boxes)
        assert (sample.gt_instances.mixup_weights < 1).all() and len(boxes) >= 2
        np.testing.assert_allclose(np.asarray(heights(sample)), boxes[:, 3] - boxes[:, 1])


@pytest.mark.parametrize('kind', ['PackHeightsDerived', 'PackHeightsMapped'])
def test_a_packing_that_takes_heights_along_works_as_the_verdict_advises(config, kind):
    _, row = plan(config(dict(type='PackHeights')))
    assert row.status == 'not_applicable'
    assert 'derive it from tricks_plugin.PackWeightedDetInputs, or add' in row.reason
    option = advised(row.reason)
    cfg = config(dict(type=kind))  # either of the two
    _, row = plan(cfg)
    assert row.status == 'not_applicable' and advised(row.reason) == option
    cfg.tricks = dict(mixup=dict())
    cfg.merge_from_dict(option)
    check(train(cfg, 1), lambda sample: sample.gt_instances.heights)


def test_what_is_packed_box_by_box_cannot_be_left_as_the_first_image_s(config):
    for option in ('ignore', 'images'):  # gt_instances would have more boxes than heights
        cfg = config(dict(type='PackHeightsMapped'))
        cfg.tricks = dict(mixup={option: ['gt_heights']})
        _, row = plan(cfg)
        assert row.status == 'not_applicable'
        assert row.reason.endswith(
            'ends in PackHeightsMapped, which also packs gt_heights for each box, and two images '
            "have more boxes than one; tricks.mixup.per_box=['gt_heights'] joins it with the "
            "partner's, one entry per box")


def test_all_that_a_packing_takes_along_is_named_at_once(config):
    class PackTwo(PackHeights):
        mapping_table = {**PackHeights.mapping_table, 'gt_ages': 'ages'}

    TRANSFORMS.register_module(module=PackTwo)
    try:
        _, row = plan(config(dict(type='PackTwo')))
    finally:
        TRANSFORMS._module_dict.pop('PackTwo')
        classes._found.pop(('PackTwo', 'mmdet'), None)
    assert row.reason.endswith("it also packs gt_heights, gt_ages: tricks.mixup.per_box="
                               "['gt_heights', 'gt_ages'] joins them with the partner's, one entry "
                               'per box')


def test_heights_in_the_meta_information_are_refused_at_the_start_and_work_as_advised(config):
    pack = dict(type='PackDetInputs', meta_keys=('img_id', 'gt_heights'))
    with pytest.raises(TrickError, match='^tricks.mixup: gt_heights has one entry per box') as told:
        train(config(pack), 2)
    cfg = config(pack)
    cfg.tricks = dict(mixup=dict())
    cfg.merge_from_dict(advised(str(told.value)))
    check(train(cfg, 3), lambda sample: sample.gt_heights)
    cfg = config(pack)
    cfg.tricks = dict(mixup=dict())
    cfg.merge_from_dict(advised(str(told.value), 'ignore'))
    assert all(len(sample.gt_heights) < len(sample.gt_instances) for sample in train(cfg, 4))
