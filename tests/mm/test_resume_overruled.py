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

from tricks_plugin.plan import TrickError  # noqa: E402

pytestmark = pytest.mark.slow

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


def train(folder, epochs, milestones=(2,), resume=None, schedule=None, paramwise=None,
          **optimizer):
    """Trains 3 iterations an epoch; returns the warnings and the evidence, if there is any."""
    steps = {'type': 'MultiStepLR', 'milestones': list(milestones), 'gamma': 0.1}
    runner = Runner.from_cfg(Config(dict(
        model={'type': 'OneLayer'}, work_dir=str(folder), resume=resume is not None,
        load_from=resume and str(folder.parent / 'first' / f'epoch_{resume}.pth'),
        train_dataloader={'dataset': [{'inputs': torch.ones(2) * i} for i in range(6)],
                          'batch_size': 2, 'num_workers': 0,
                          'sampler': {'type': 'DefaultSampler', 'shuffle': False}},
        train_cfg={'by_epoch': True, 'max_epochs': epochs}, param_scheduler=[schedule or steps],
        optim_wrapper={'optimizer': {key: value for key, value in {
            'type': 'SGD', 'lr': 0.01, 'momentum': 0.9, **optimizer}.items() if value is not None},
                       'paramwise_cfg': paramwise},
        custom_hooks=[{'type': 'tricks_plugin.TrickEvidenceHook',
                       'tricks': [{'name': 'step_decay', 'promise': {}}]}],
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


def test_a_schedule_with_a_high_floor_is_looked_at_beside_the_runs_own_lr(tmp_path):
    """An eta_min of 2 is above any LR but the run's own of 48, as of LARS."""
    floor = {'type': 'tricks_plugin.WarmupCosineLR', 'by_epoch': True, 'warmup_epochs': 0,
             'convert_to_iter_based': True, 'eta_min': 2.0}
    train(tmp_path / 'first', 2, schedule=floor, lr=48.0, momentum=0.0)
    warnings, _ = train(tmp_path / 'on', 2, schedule=floor, resume=1, lr=48.0, momentum=0.0)
    assert warnings == []


@pytest.mark.parametrize(('changed', 'words'), [
    ({'type': 'Adagrad', 'lr_decay': 0.1, 'momentum': None},
     'of another optimizer than optim_wrapper.optimizer, a Adagrad: it has no lr_decay'),
    ({'paramwise': {'bias_decay_mult': 0.0}, 'weight_decay': 0.1},
     'holds 1 parameter groups of 2 parameters for optim_wrapper.optimizer, and this config makes '
     '2 of 2'),
])
def test_a_state_that_does_not_fit_is_refused_in_one_line(tmp_path, changed, words):
    train(tmp_path / 'first', 2)
    with pytest.raises(TrickError) as error:
        train(tmp_path / 'on', 3, resume=1, **changed)
    assert str(error.value).startswith('resume: the checkpoint holds')
    assert words in str(error.value)
    assert str(error.value).endswith('train from its weights with load_from')
