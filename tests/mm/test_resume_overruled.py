"""A resumed run says which changed settings the checkpoint has overruled."""

from __future__ import annotations

import itertools
import json
import logging

import pytest
import torch

pytest.importorskip('mmengine')
from mmengine.config import Config  # noqa: E402
from mmengine.model import BaseModel  # noqa: E402
from mmengine.registry import MODELS  # noqa: E402
from mmengine.runner import Runner  # noqa: E402

RUNS = itertools.count()


class OneLayer(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def forward(self, inputs, mode='tensor'):
        return {'loss': self.layer(torch.stack(list(inputs))).square().mean()}


@pytest.fixture(autouse=True)
def _model():
    MODELS.register_module(module=OneLayer)
    yield
    MODELS._module_dict.pop('OneLayer')


def train(folder, epochs, milestones=(2,), resume=None, **optimizer):
    """Trains 3 iterations an epoch; returns the warnings and the evidence, if there is any."""
    steps = {'type': 'MultiStepLR', 'milestones': list(milestones), 'gamma': 0.1}
    runner = Runner.from_cfg(Config(dict(
        model={'type': 'OneLayer'}, work_dir=str(folder), resume=resume is not None,
        load_from=resume and str(folder.parent / 'first' / f'epoch_{resume}.pth'),
        train_dataloader={'dataset': [{'inputs': torch.ones(2) * i} for i in range(6)],
                          'batch_size': 2, 'num_workers': 0,
                          'sampler': {'type': 'DefaultSampler', 'shuffle': False}},
        train_cfg={'by_epoch': True, 'max_epochs': epochs}, param_scheduler=[steps],
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.01, 'momentum': 0.9, **optimizer}},
        custom_hooks=[{'type': 'tricks_plugin.TrickEvidenceHook',
                       'tricks': [{'name': 'step_decay', 'evidence': {}}]}],
        default_scope='mmengine', log_level='WARNING',
        experiment_name=f'{folder.parent.name}_{next(RUNS)}')))
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    runner.logger.addHandler(handler)
    runner.train()
    path = folder / 'tricks_evidence.json'
    evidence = json.loads(path.read_text())['tricks'][0] if path.exists() else None
    return [line for line in lines if 'checkpoint overrules' in line], evidence


def test_changed_settings_are_said_once_and_the_evidence_compares_what_is_held(tmp_path):
    warnings, evidence = train(tmp_path / 'first', 4)
    assert warnings == [] and evidence['live'] is True
    warnings, evidence = train(tmp_path / 'same', 4, resume=1)
    assert warnings == [] and evidence['live'] is True
    warnings, evidence = train(tmp_path / 'other', 4, milestones=(3,), resume=1, lr=0.05,
                               weight_decay=0.2)
    assert len(warnings) == 1
    for words in ('optim_wrapper.optimizer.lr 0.05 asked for, 0.01 held',
                  'optim_wrapper.optimizer.weight_decay 0.2 asked for, 0 held',
                  'param_scheduler[0].milestones 3 asked for, 2 held'):
        assert words in warnings[0]
    assert 'momentum' not in warnings[0] and '].end' not in warnings[0]
    # The LR falls at epoch 2, where the checkpoint has it, and not at 3, as was asked for.
    assert evidence['live'] is False


def test_a_schedule_that_a_checkpoint_ends_too_early_for_a_longer_run_is_said(tmp_path):
    train(tmp_path / 'first', 2)
    warnings, evidence = train(tmp_path / 'longer', 4, resume=2)
    assert 'param_scheduler[0].end 4 asked for, 2 held' in warnings[0]
    assert evidence['live'] is False


def test_a_run_that_was_over_before_it_was_resumed_claims_nothing(tmp_path):
    train(tmp_path / 'first', 2)
    assert train(tmp_path / 'over', 2, resume=2) == ([], None)
