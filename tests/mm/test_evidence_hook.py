"""A plan is a promise: the hook reports what the run does."""

from __future__ import annotations

import json

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Dataset

from tricks_plugin.evidence import Evidence, Finding
from tricks_plugin.mm.evidence_hook import DeadTrickError, TrickEvidenceHook
from tricks_plugin.plan import TrickError


class Numbers(Dataset):
    METAINFO = {}
    metainfo = {}

    def __len__(self):
        return 12

    def __getitem__(self, index):
        return torch.full((2,), float(index))


class Line(BaseModel):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 1)

    def forward(self, inputs, mode='loss'):
        return {'loss': self.linear(inputs).square().mean()}

    def train_step(self, data, optim_wrapper):
        loss = self(data)['loss']
        optim_wrapper.update_params(loss)
        return {'loss': loss.detach()}


class SumOfInputs(Evidence):
    """Live if the inputs seen add up; switches at iteration 4."""

    def __init__(self, alive=True):
        self.alive, self.seen, self.calls = alive, 0, []

    def start(self, training):
        self.calls.append('start')

    def before_iteration(self, training):
        self.calls.append('before')

    def after_iteration(self, training):
        self.seen += len(training.batch)
        self.last = training.iteration

    def switched(self, training):
        return training.iteration == 4

    def finding(self, training):
        live = self.alive if self.seen >= 8 else None
        return Finding('12 an epoch', live, f'{self.seen} samples', {'samples': self.seen})

    def close(self):
        self.calls.append('close')


@pytest.fixture()
def measured(toy):
    toy.evidence = f'{__name__}:SumOfInputs'
    return toy


def run(tmp_path, hook, epochs=2):
    runner = Runner(
        model=Line(), work_dir=str(tmp_path), train_dataloader=DataLoader(Numbers(), batch_size=2),
        train_cfg={'by_epoch': True, 'max_epochs': epochs},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 1e-4}}, custom_hooks=[hook],
        default_hooks={'checkpoint': None}, log_level='ERROR',
        experiment_name=f'evidence_{tmp_path.name}')
    runner.train()
    return runner


def test_reports_come_first_at_a_switch_and_at_the_end(measured, tmp_path):
    hook = TrickEvidenceHook([{'name': 'toy', 'promise': {}}], first=3)
    run(tmp_path, hook)
    saved = json.loads((tmp_path / 'tricks_evidence.json').read_text())
    everything = [*saved['history'], saved]
    assert [(r['when'], r['iteration']) for r in everything] == [
        ('after 3 iterations', 2), ('toy switched', 4), ('at the end', 11)]
    assert [r['tricks'][0]['values']['samples'] for r in everything] == [6, 10, 24]
    assert [r['tricks'][0]['live'] for r in everything] == [None, True, True]
    assert all(0 <= r['cost'] <= 1 for r in everything)
    calls = hook.measurements['toy'].calls
    assert calls[0] == 'start' and calls[-1] == 'close' and calls.count('before') == 12


def test_a_short_first_epoch_is_reported_at_its_end(measured, tmp_path):
    run(tmp_path, TrickEvidenceHook([{'name': 'toy'}], first=100), epochs=1)
    saved = json.loads((tmp_path / 'tricks_evidence.json').read_text())
    assert saved['when'] == 'at the end'
    assert [r['when'] for r in saved['history']] == ['toy switched']


def test_a_dead_trick_is_an_error_in_the_log(measured, tmp_path):
    hook = TrickEvidenceHook([{'name': 'toy', 'promise': {'alive': False}}], first=5)
    run(tmp_path, hook)
    log = next(tmp_path.glob('*/*.log')).read_text()
    errors = [line for line in log.splitlines() if ' - ERROR - ' in line]
    assert "trick 'toy' shows no effect: planned 12 an epoch" in errors[0]
    assert 'measured 10 samples' in errors[0]


def test_a_dead_trick_stops_a_strict_run(measured, tmp_path):
    hook = TrickEvidenceHook([{'name': 'toy', 'promise': {'alive': False}}], first=5, strict=True)
    with pytest.raises(DeadTrickError, match='without effect under tricks.strict=True: toy'):
        run(tmp_path, hook)
    assert hook.measurements['toy'].last == 4


@pytest.mark.parametrize(('promise', 'words'), [
    ({'name': 'no_bias_decay', 'promise': {'weight_decay': 1e-4}},
     "evidence of no_bias_decay: got an unexpected keyword argument 'weight_decay'"),
    ({'name': 'resnet_d'}, "evidence of resnet_d: missing a required argument: 'variant'"),
    ({'promise': {}}, 'TrickEvidenceHook.tricks must hold dicts with a name'),
    ('ema', 'TrickEvidenceHook.tricks must hold dicts with a name'),
    ({'name': 'emma'}, "unknown trick 'emma'; did you mean 'ema'"),
])
def test_a_promise_of_another_version_is_refused_in_one_line(promise, words):
    with pytest.raises(TrickError) as error:
        TrickEvidenceHook([promise])
    assert words in str(error.value) and '\n' not in str(error.value)
