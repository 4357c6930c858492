"""An epoch of training and validation, against loops written out and numbers worked by hand."""

from __future__ import annotations

import argparse
import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.sums import tolerance
from timm.scheduler import create_scheduler_v2
from torch import nn

from tricks_plugin.timm.build import build_run
from tricks_plugin.timm.loop import _Epoch, begin_epoch, mixup_is_on, train_epoch, validate
from tricks_plugin.timm.progress import Progress
from tricks_plugin.timm.run import Run
from tricks_plugin.timm.settings import with_lr

pytestmark = pytest.mark.slow

Settings = Callable[..., argparse.Namespace]
QUIET = Progress(1, shown=False)


class Record:
    """Keeps what an observer is shown."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.batches: list[tuple[int, torch.Tensor, torch.Tensor]] = []
        self.rates: list[tuple[int, float]] = []
        self.stepped = 0
        run.optimizer.register_step_post_hook(self.step)

    def step(self, *args: object) -> None:
        self.stepped += 1

    def on_ask(self, first: bool) -> None:
        pass

    def on_batch(self, epoch: int, images: torch.Tensor, targets: torch.Tensor) -> None:
        self.batches.append((epoch, images.clone(), targets.clone()))

    def after_batch(self, loss: torch.Tensor) -> None:
        if self.stepped > len(self.rates):
            self.rates.append((len(self.rates), self.run.optimizer.param_groups[0]['lr']))


def build(args: argparse.Namespace) -> Run:
    return build_run(args, torch.device('cpu'))


def in_double(run: Run) -> Run:
    """The training in float64, where the order of a sum makes no difference to speak of."""
    run.model.double()
    run.model_dtype = run.loader_train.img_dtype = torch.float64
    return run


def run_epochs(run: Run, epochs: int) -> tuple[Record, list[float]]:
    record, losses = Record(run), []
    for epoch in range(epochs):
        losses.append(train_epoch(run, epoch, record, QUIET)['loss'])
        if run.scheduler is not None:
            run.scheduler.step(epoch + 1, None)
    return record, losses


def by_hand(run: Run, windows: list[list[int]], lr: float) -> tuple[nn.Module, float]:
    """The first epoch on a copy of the model: plain gradient descent over windows of batches."""
    model = copy.deepcopy(run.model).train()
    begin_epoch(run, 0)
    batches = list(run.loader_train)
    total = 0.0
    for window in windows:
        model.zero_grad()
        for index in window:
            images, targets = batches[index]
            loss = nn.functional.cross_entropy(model(images.to(run.model_dtype)), targets)
            (loss / len(window)).backward()
            total += loss.item() * len(images)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= lr * parameter.grad
    return model, total / sum(len(images) for images, _ in batches)


PLAIN = ('--opt', 'momentum', '--momentum', '0', '--weight-decay', '0', '--lr', '0.01', '--sched',
         'none', '--smoothing', '0')


@pytest.mark.parametrize(('words', 'windows'), [
    ((), [[0], [1], [2], [3], [4], [5]]),
    (('--grad-accum-steps', '4'), [[0, 1, 2, 3], [4, 5]]),
    (('--no-prefetcher',), [[0], [1], [2], [3], [4], [5]]),
])
def test_an_epoch_equals_plain_gradient_descent_written_out(
    settings: Settings, words: tuple[str, ...], windows: list[list[int]],
) -> None:
    run = in_double(build(settings(*PLAIN, *words)))
    expected, mean = by_hand(run, windows, 0.01)
    record, losses = run_epochs(run, 1)
    assert losses[0] == pytest.approx(mean, rel=tolerance(6, 1.0))  # its sum is kept in float32
    assert [update for update, _ in record.rates] == list(range(len(windows)))
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(run.model.state_dict()[name], value, rtol=1e-9, atol=1e-12)


def test_clipping_bounds_the_step(settings: Settings) -> None:
    run = in_double(build(settings(*PLAIN, '--clip-grad', '0.001',
                                   '--train-batches-per-epoch', '1')))
    before = copy.deepcopy(run.model)
    record = Record(run)
    epoch = _Epoch(run, 0, record, QUIET)
    images, targets = next(iter(run.loader_train))
    epoch._step(0, images, targets)
    moved = sum(float(((a - b) ** 2).sum().detach()) for a, b in
                zip(run.model.parameters(), before.parameters(), strict=True)) ** 0.5
    assert moved == pytest.approx(0.01 * 0.001, rel=1e-5)


def test_lr_of_every_update_is_timms_and_the_closed_form(settings: Settings) -> None:
    """6 updates an epoch, 2 of 6 epochs warm up from 0 to 0.3, then a cosine over 24 updates."""
    run = build(settings('--sched', 'cosine', '--sched-on-updates', '--warmup-lr', '0',
                         '--warmup-epochs', '2', '--warmup-prefix', '--epochs', '4',
                         '--lr', '0.3', '--min-lr', '0'))
    assert (run.updates_per_epoch, run.num_epochs) == (6, 6)
    record, _ = run_epochs(run, 6)
    rates = [rate for _, rate in record.rates]
    assert len(rates) == 36
    assert rates[:4] == pytest.approx([0.0, 0.025, 0.05, 0.075], abs=1e-12)
    assert rates[12] == pytest.approx(0.3) and rates[24] == pytest.approx(0.15)
    assert rates[18] == pytest.approx(0.15 * (1 + math.sqrt(0.5)))  # an eighth of the circle
    twin = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    timms, total = create_scheduler_v2(
        twin, sched='cosine', num_epochs=4, warmup_epochs=2, warmup_lr=0.0, warmup_prefix=True,
        min_lr=0.0, cooldown_epochs=0, step_on_epochs=False, updates_per_epoch=6)
    assert total == 6
    for update, rate in enumerate(rates):
        assert rate == pytest.approx(twin.param_groups[0]['lr'], abs=1e-15), update
        timms.step_update(update + 1)


def test_steps_per_epoch_come_at_their_epochs(settings: Settings) -> None:
    run = build(settings('--sched', 'multistep', '--decay-milestones', '1', '3', '--decay-rate',
                         '0.1', '--epochs', '4', '--warmup-epochs', '0', '--lr', '0.2'))
    record, _ = run_epochs(run, 4)
    rates = [rate for _, rate in record.rates]
    # timm's milestone 3 acts in the third epoch, number 2; its milestone 1 in epoch 1, as the
    # first epoch's LR is not computed.
    assert rates[::6] == pytest.approx([0.2, 0.02, 0.002, 0.002])
    assert len(set(rates[12:])) == 1


def test_mixup_goes_off_at_its_epoch_in_persistent_workers_too(settings: Settings) -> None:
    """K = 3, s = 0.3: an unmixed target is 0.8 for its class and 0.1 for the others."""
    run = build(settings('--mixup', '1.0', '--mixup-mode', 'elem', '--mixup-off-epoch', '2',
                         '--workers', '2', '--smoothing', '0.3'))
    record, _ = run_epochs(run, 4)
    mixed = {epoch: 0 for epoch in range(4)}
    for epoch, _, targets in record.batches:
        mixed[epoch] += int((targets.max(dim=1).values < 0.799).sum())
    assert mixed[0] > 5 and mixed[1] > 5
    assert (mixed[2], mixed[3]) == (0, 0)
    targets = torch.cat([targets for epoch, _, targets in record.batches if epoch == 3])
    torch.testing.assert_close(targets.sort(dim=1).values,
                               torch.tensor([0.1, 0.1, 0.8]).expand(24, 3))


def test_the_loader_that_runs_ahead_drops_its_mixed_batches(settings: Settings) -> None:
    run = build(settings('--mixup', '1.0', '--mixup-mode', 'elem', '--mixup-off-epoch', '1',
                         '--workers', '1', '--use-multi-epochs-loader', '--smoothing', '0.3'))
    record, _ = run_epochs(run, 2)
    late = [targets for epoch, _, targets in record.batches if epoch == 1]
    assert len(late) == 6
    assert not any((targets.max(dim=1).values < 0.799).any() for targets in late)


def test_zero_as_the_off_epoch_means_never() -> None:
    args = argparse.Namespace(mixup_off_epoch=0)
    assert all(mixup_is_on(args, epoch) for epoch in (0, 1, 300))
    args.mixup_off_epoch = 5
    assert [mixup_is_on(args, epoch) for epoch in (4, 5, 6)] == [True, False, False]


def test_validation_counts_each_image_once(settings: Settings) -> None:
    run = build(settings())
    found = validate(run, QUIET)
    right, losses = 0, 0.0
    with torch.no_grad():
        for images, targets in run.loader_eval:
            logits = run.model.eval()(images)
            right += int((logits.argmax(dim=1) == targets).sum())
            losses += float(nn.functional.cross_entropy(logits, targets, reduction='sum'))
    assert found['top1'] == pytest.approx(100 * right / 9)
    assert found['loss'] == pytest.approx(losses / 9, rel=tolerance(9, 1.0, operations=64))


def test_the_average_of_the_weights_is_validated(settings: Settings) -> None:
    run = build(settings('--model-ema', '--model-ema-decay', '0.5', '--lr', '0.5'))
    run_epochs(run, 1)
    plain, average = validate(run, QUIET), validate(run, QUIET, ema=True)
    assert plain['loss'] != average['loss']


@pytest.mark.parametrize(('kind', 'weight'), [('none', 1.0), ('linear', 0.75), ('sqrt', 0.8660254)])
def test_batches_of_scheduled_sizes_weigh_by_their_images(
    settings: Settings, kind: str, weight: float,
) -> None:
    run = build(settings('--train-img-sizes', '32', '64', '--train-batch-sizes', '6', '2',
                         '--variable-batch-loss-scale', kind))
    run.reference_batch = 4.0
    assert _Epoch(run, 0, Record(run), QUIET)._scale(3) == pytest.approx(weight)


def resolved(**changes: Any) -> argparse.Namespace:
    args = argparse.Namespace(**{**dict(
        lr=None, lr_base=0.1, lr_base_size=256, lr_base_scale='', opt='sgd', world_size=1,
        grad_accum_steps=1, rank=1), **changes})
    return with_lr(args, 128.0)


def test_the_lr_follows_from_base_and_batch() -> None:
    assert resolved(world_size=8).lr == pytest.approx(0.4)  # 8 x 128 = 1024 = 4 x 256
    assert resolved(grad_accum_steps=4).lr == pytest.approx(0.2)
    found = resolved(opt='adamw', world_size=8, lr_base=0.001)
    assert (found.lr, found.lr_base_scale) == (pytest.approx(0.002), 'sqrt')
    assert resolved(opt='adamw', world_size=8, lr_base_scale='linear').lr == pytest.approx(0.4)
    assert resolved(lr=0.7, world_size=8).lr == 0.7
