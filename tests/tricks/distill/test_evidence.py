"""The measurement: what it says of a right run, and of each way to be dead."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from tricks_plugin.evidence import Distillation
from tricks_plugin.tricks.distill.evidence import DistillEvidence


class Run:
    """A training of ten epochs of one iteration whose losses are told."""

    by_epoch, max_epochs, epoch_length, max_iterations = True, 10, 1, 10

    def __init__(self, off=0.2):
        self.teacher = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.5)).eval()
        self.distillation = Distillation(self.teacher, {
            'loss_distill_0': torch.tensor(0.5), 'loss_distill_1': torch.tensor(2.0)})
        self.epoch, self.outputs = 0, None
        self.evidence = DistillEvidence(off_fraction=off)
        self.evidence.start(self)

    def step(self, *values):
        losses = {f'loss_distill_{index}': torch.tensor(value)
                  for index, value in enumerate(values)}
        # As of a head that names its loss so; the whole of a step is 4.
        self.outputs = {'loss': torch.tensor(0.5), **losses}
        if self.distillation is not None:
            self.distillation.whole = torch.tensor(4.0)
        self.evidence.after_iteration(self)
        self.epoch += 1

    def teach(self, count=8):
        for index in range(count):
            self.step(0.25 + index / 8, 0.75 - index / 16)
        return self

    def found(self):
        return self.evidence.finding(self)


def test_a_right_run_shows_each_level_its_share_and_that_the_teacher_stands_still():
    run = Run().teach(2)
    found = run.found()
    # (0.25 + 0.375) / 2 and (0.75 + 0.6875) / 2; together 2.0625 of 8.
    assert found.values['losses'] == {'loss_distill_0': 0.3125, 'loss_distill_1': 0.71875}
    assert found.values['share'] == 2.0625 / 8
    assert found.live is True and found.planned == 'a teacher, off from epoch 8'
    assert found.measured == ('loss_distill_0 0.3125; loss_distill_1 0.7188; 25.8 % of the whole '
                              'loss; the teacher has not moved (7 tensors)')


def test_the_switch_is_told_once_and_the_end_is_clean():
    run = Run().teach()
    assert not run.evidence.switched(run)
    run.step()
    assert run.evidence.switched(run) and not run.evidence.switched(run)
    found = run.found()
    assert found.live is True and 'none in 1 iterations after the switch' in found.measured


def test_nothing_is_claimed_before_the_first_iteration_or_in_a_run_resumed_after_the_switch():
    run = Run()
    assert run.found().live is None
    run.epoch = 9
    run.step()
    assert run.found().live is None


def weight(run):
    with torch.no_grad():
        run.teacher[0].weight[0, 0] += 1e-6


def buffer(run):
    run.teacher[1].running_mean.add_(0.1)


def mode(run):
    run.teacher[2].train()


def late(run):
    run.epoch = 9
    run.step(0.1, 0.2)


@pytest.mark.parametrize(('meddle', 'words'), [
    (weight, 'the teacher has moved: 0.weight'), (buffer, 'moved: 1.running_mean'),
    (mode, 'the teacher is not in evaluation mode'),
    (lambda run: run.step(), '1 iterations before the switch had no loss of distillation'),
    (late, '1 iterations after the switch had one'),
    (lambda run: run.distillation.gradients.pop('loss_distill_1'),
     'loss_distill_1 sends the student no gradient'),
    (lambda run: run.distillation.gradients['loss_distill_0'].zero_(),
     'loss_distill_0 sends the student no gradient'),
    (lambda run: setattr(run, 'distillation', None), 'no teacher is at work'),
])
def test_a_run_that_breaks_after_a_good_start_is_dead(meddle, words):
    run = Run().teach(4)
    assert run.found().live is True
    meddle(run)
    found = run.found()
    assert found.live is False and words in found.measured


@pytest.mark.parametrize(('values', 'words'), [
    ((0.0, 0.5), 'loss_distill_0 is 0'), ((0.25, 0.5), 'is the same in every iteration')])
def test_a_loss_of_nothing_or_that_never_changes_is_dead(values, words):
    run = Run()
    for _ in range(3):
        run.step(*values)
    found = run.found()
    assert found.live is False and words in found.measured


def test_a_digest_sees_any_dtype():
    from tricks_plugin.tricks.distill.evidence import held_tensors
    held = SimpleNamespace(named_parameters=lambda: [], named_buffers=lambda: [
        (str(dtype), torch.ones(3).to(dtype)) for dtype in (
            torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool,
            torch.complex64)])
    assert len(held_tensors(held)) == 6 and held_tensors(held)['torch.int64'] == (3, 3)
