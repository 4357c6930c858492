"""The guard: what it counts, when it stops, what it leaves alone."""

from __future__ import annotations

import json

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Dataset

import tricks_plugin
from tricks_plugin.common.finite import NonFiniteError
from tricks_plugin.tricks.finite_guard.evidence import FiniteGuardEvidence
from tricks_plugin.tricks.finite_guard.hook import FiniteGuardHook


class Losses(Dataset):
    """The losses that the training will have, one per iteration."""

    metainfo = {}

    def __init__(self, values):
        self.values = values

    def __len__(self):
        return len(self.values)

    def __getitem__(self, index):
        return torch.tensor([self.values[index]])


class Told(BaseModel):
    """A model whose loss is its input."""

    def __init__(self, named=True):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.named = named

    def forward(self, inputs, mode='loss'):
        return inputs

    def train_step(self, data, optim_wrapper):
        value = data.sum()
        optim_wrapper.update_params(self.weight.sum() * 0)
        return {'loss': value, 'loss_cls': torch.ones(()), 'acc': torch.tensor(float('nan'))} \
            if self.named else {'acc': torch.ones(())}


def run(tmp_path, values, hook, epochs=1, model=None):
    runner = Runner(
        model=model or Told(), work_dir=str(tmp_path),
        train_dataloader=DataLoader(Losses(values), batch_size=1),
        train_cfg={'by_epoch': True, 'max_epochs': epochs},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.25}}, custom_hooks=[hook],
        log_level='ERROR', experiment_name=f'guard_{tmp_path.name}')
    runner.train()
    return runner


NAN, INF = float('nan'), float('inf')


def test_a_row_is_found_at_the_next_look_and_told_with_its_start(tmp_path):
    # Iterations 4, 5 and 6 of 1, 2, ...: found at the look after the eighth.
    values = [1.0, NAN, 1.0, NAN, INF, -INF, 1.0, 1.0, 1.0, 1.0]
    with pytest.raises(NonFiniteError) as error:
        run(tmp_path, values, FiniteGuardHook(limit=3, interval=4))
    text = str(error.value)
    assert text.startswith('the loss has not been finite for 3 iterations in a row, since '
                           'iteration 4 (now finite again at 8; lr 0.25, float32)')
    assert '\n' not in text


def test_the_loss_that_is_not_finite_is_named_and_no_checkpoint_is_written(tmp_path):
    with pytest.raises(NonFiniteError, match=r'since iteration 2 \(loss at 5; lr 0.25, float32'):
        run(tmp_path, [1.0, NAN, NAN, NAN, NAN], FiniteGuardHook(limit=3, interval=50))
    assert not list(tmp_path.glob('*.pth'))


def test_a_training_that_ends_in_nan_has_failed_however_short_the_row_is(tmp_path):
    with pytest.raises(NonFiniteError, match='for 2 iterations in a row, since iteration 4'):
        run(tmp_path, [1.0, 2.0, 3.0, NAN, NAN], FiniteGuardHook(limit=10, interval=50))


@pytest.mark.parametrize('values, limit', [
    ([1.0, NAN, NAN, 1.0, NAN, NAN, 1.0], 3), ([1.0] * 6, 1), ([1e38, 1e38, -1e38], 1)])
def test_shorter_rows_and_large_losses_are_left_alone(tmp_path, values, limit):
    hook = FiniteGuardHook(limit=limit, interval=2)
    run(tmp_path, values, hook, epochs=2)
    assert hook.watched == 2 * len(values)


def test_a_row_goes_on_over_the_end_of_an_epoch(tmp_path):
    with pytest.raises(NonFiniteError, match='for 2 iterations in a row, since iteration 3'):
        run(tmp_path, [NAN, 1.0, NAN], FiniteGuardHook(limit=2, interval=50), epochs=2)


def test_a_step_without_a_loss_is_said_once_and_is_no_evidence(tmp_path):
    hook = FiniteGuardHook()
    run(tmp_path, [1.0, 2.0, 3.0], hook, model=Told(named=False))
    assert (hook.watched, hook.unreadable) == (0, 3)
    training = Stand(hook)
    assert training.measure(3).live is False


class Stand:
    """As much of a training as the measurement reads."""

    def __init__(self, hook):
        self.hook = hook

    def component(self, kind):
        return next((part for part in vars(self.hook).values() if isinstance(part, kind)), None) \
            if self.hook else None

    def measure(self, iterations):
        evidence = FiniteGuardEvidence()
        for _ in range(iterations):
            evidence.after_iteration(self)
        return evidence.finding(self)


def test_the_evidence_says_no_where_the_guard_is_missing_or_stops_watching():
    hook = FiniteGuardHook()
    assert Stand(None).measure(3).live is False
    assert Stand(hook).measure(0).live is None
    for _ in range(3):
        hook.after_train_iter(None, 0, outputs={'loss': torch.tensor(1.0)})
    assert Stand(hook).measure(3).live is True
    assert Stand(hook).measure(5).live is False


@pytest.mark.parametrize('options', [dict(limit=0), dict(interval=0)])
def test_a_hook_that_could_not_stop_is_refused(options):
    with pytest.raises(ValueError, match='limit and interval must be >= 1'):
        FiniteGuardHook(**options)


def test_the_edit_adds_the_hook_once(tmp_path):
    cfg = Config(dict(
        train_cfg=dict(by_epoch=True, max_epochs=3), custom_hooks=dict(type='NumClassCheckHook'),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1))))
    effective, plan = tricks_plugin.apply_tricks(cfg, {'finite_guard': {'limit': 5}})
    assert plan['finite_guard'].status == 'applied'
    assert effective.custom_hooks[:2] == [
        dict(type='NumClassCheckHook'),
        dict(type='tricks_plugin.FiniteGuardHook', limit=5, interval=50)]
    again, second = tricks_plugin.apply_tricks(effective, 'finite_guard')
    assert second['finite_guard'].status == 'present'
    assert second['finite_guard'].reason == 'custom_hooks[1] is FiniteGuardHook'
    assert again.to_dict() == effective.to_dict()


def test_timm_is_told_who_does_it():
    from tricks_plugin.plan import TRICKS
    guard = TRICKS.get('finite_guard').from_dict({})
    assert guard.timm_args({}) == {} and 'in every run' in guard.timm_note({}, {})


def test_a_training_with_the_trick_shows_it_live_and_one_that_fails_keeps_its_report(tmp_path):
    hooks = [dict(type='tricks_plugin.FiniteGuardHook', limit=2, interval=1),
             dict(type='tricks_plugin.TrickEvidenceHook', first=2,
                  tricks=[dict(name='finite_guard', promise={})])]
    runner = Runner(
        model=Told(), work_dir=str(tmp_path), experiment_name='guarded', log_level='ERROR',
        train_dataloader=DataLoader(Losses([1.0, 2.0, 3.0, NAN, NAN, NAN]), batch_size=1),
        train_cfg={'by_epoch': True, 'max_epochs': 1},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.25}}, custom_hooks=hooks)
    with pytest.raises(NonFiniteError, match=r'since iteration 4 \(loss at 5'):
        runner.train()
    saved = json.loads((tmp_path / 'tricks_evidence.json').read_text())
    assert saved['when'] == 'after 2 iterations' and saved['tricks'][0]['live'] is True
