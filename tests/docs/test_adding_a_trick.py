"""The example of docs/adding_a_trick.md runs as it is printed, under both trainers."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmengine.runner import Runner
from torch.utils.data import Dataset

import tricks_plugin
from tricks_plugin.evidence import DeadTrickError, build_evidence
from tricks_plugin.plan import TRICKS, RunFacts

pytestmark = pytest.mark.slow

PAGE = Path(__file__).resolve().parents[2] / 'docs' / 'adding_a_trick.md'
ROOM = 'their_clip_grad'


@pytest.fixture()
def room(tmp_path, monkeypatch):
    """The page's files as a package, registered for the time of a test."""
    folder = tmp_path / ROOM
    folder.mkdir()
    blocks = re.findall(r'```python\n# (\S+)\n(.*?)```', PAGE.read_text(), re.S)
    assert [name for name, _ in blocks] == ['__init__.py', 'mm.py', 'timm.py', 'evidence.py']
    for name, text in blocks:
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    importlib.import_module(ROOM)
    yield TRICKS.get('clip_grad')
    TRICKS.unregister('clip_grad')
    for name in [name for name in sys.modules if name.split('.')[0] == ROOM]:
        del sys.modules[name]


class Steep(BaseModel):
    """A loss whose gradient has norm 50."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(4))

    def forward(self, inputs, mode='loss'):
        return {'loss': (25.0 * self.weight).sum()}

    def train_step(self, data, optim_wrapper):
        loss = self(data)['loss']
        optim_wrapper.update_params(loss)
        return {'loss': loss.detach()}


class Three(Dataset):
    metainfo = {}

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return torch.zeros(1)


def config(tmp_path):
    return Config(dict(
        model=dict(type='Steep'), work_dir=str(tmp_path / 'run'), default_scope='mmengine',
        train_dataloader=dict(batch_size=1, dataset=dict(type='Three'),
                              sampler=dict(type='DefaultSampler', shuffle=False)),
        train_cfg=dict(by_epoch=True, max_epochs=1), log_level='ERROR',
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)), experiment_name='clip'))


@pytest.mark.parametrize('broken', [False, True])
def test_the_example_plans_trains_and_shows_itself_live_or_dead(room, tmp_path, broken):
    from mmengine.registry import DATASETS
    MODELS.register_module(module=Steep, force=True)
    DATASETS.register_module(module=Three, force=True)
    try:
        effective, plan = tricks_plugin.apply_tricks(config(tmp_path), 'clip_grad')
        assert plan['clip_grad'].status == 'applied' and plan.run == RunFacts(
            processes=1, batch_size=1, accumulation=1, epochs=1, unknown=(
                'the number of images is not known: train_dataloader.dataset names no annotation '
                'file',))
        assert [change.path for change in plan['clip_grad'].changes] == ['optim_wrapper.clip_grad']
        if broken:
            effective.optim_wrapper.clip_grad = None
        Runner.from_cfg(effective).train()
    finally:
        MODELS.module_dict.pop('Steep')
        DATASETS.module_dict.pop('Three')
    row, = json.loads((tmp_path / 'run' / 'tricks_evidence.json').read_text())['tricks']
    assert row['name'] == 'clip_grad' and row['live'] is not broken
    assert row['values']['largest'] == pytest.approx(50 if broken else 10, rel=1e-4)


def test_the_example_meets_what_the_tests_ask_of_a_room(room):
    from integration import test_conformance as conformance
    name = 'clip_grad'
    conformance.test_a_trick_names_its_source_and_its_measurement(name)
    conformance.test_defaults_are_valid_parameters(name)
    conformance.test_a_config_of_nothing_gets_a_verdict_with_a_reason(name)
    conformance.test_orders_are_distinct()


def test_the_example_is_planned_and_measured_under_timm_too(room):
    pytest.importorskip('timm')
    from support.timm_train import settings_of

    from tricks_plugin.timm.plan import plan_tricks
    args, plan, _ = plan_tricks(settings_of(), frozenset(), {'clip_grad': {'max_norm': 2.0}})
    assert args.clip_grad == 2.0
    assert plan['clip_grad'].status == 'applied' and plan['clip_grad'].promise == {'max_norm': 2.0}
    assert type(build_evidence('clip_grad', plan['clip_grad'].promise)).__name__ == 'ClipEvidence'
    args, plan, _ = plan_tricks(settings_of(clip_grad=1.0), {'clip_grad'}, 'clip_grad')
    assert args.clip_grad == 1.0 and plan['clip_grad'].promise == {'max_norm': 1.0}


@pytest.mark.parametrize('broken', [False, True])
def test_the_example_trains_with_timm_and_shows_itself_live_or_dead(
        room, tmp_path, monkeypatch, broken):
    pytest.importorskip('timm')
    from support.timm_train import TINY, write_images
    from timm import utils

    from tricks_plugin.timm.train import main
    for split, count in (('train', 4), ('validation', 2)):
        write_images(tmp_path / 'data' / split, count)
    if broken:
        monkeypatch.setattr(utils, 'dispatch_clip_grad', lambda *args, **kwargs: None)
    words = [str(tmp_path / 'data'), *TINY, '--epochs', '1', '--warmup-epochs', '0', '--output',
             str(tmp_path), '--experiment', 'run', '--tricks', 'clip_grad', '--trick-options',
             'clip_grad.max_norm=0.01', 'strict=True']
    if broken:
        with pytest.raises(DeadTrickError, match='clip_grad'):
            main(words)
    else:
        assert main(words) == 0
    rows = json.loads((tmp_path / 'run' / 'tricks_evidence.json').read_text())['tricks']
    row = next(row for row in rows if row['name'] == 'clip_grad')
    assert row['live'] is not broken
