"""One epoch of training and of validation."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import Any, Protocol

import torch
from timm import utils
from timm.task import evaluation_sample_limit

from ..common.finite import NonFiniteError
from .output import writing
from .progress import Progress
from .run import Run
from .samples import batches, seed_everything, set_epoch

__all__ = ['Observer', 'distributed_mean', 'mixup_is_on', 'train_epoch', 'validate']

# Float16's loss scale is halved with each skipped update: from 65536, this is 30 in a row.
_LEAST_SCALE = 2.0 ** -14


class Observer(Protocol):
    """What watches a training; `tricks_plugin.timm.evidence.TimmEvidence` is one."""

    def on_ask(self, first: bool) -> None:
        """Called as a batch is asked for, the work of the one before done.

        Args:
            first: Whether it is the first of the epoch; a last one is asked for in vain.
        """

    def on_batch(self, epoch: int, images: torch.Tensor, targets: torch.Tensor) -> None:
        """Called with each batch as the model gets it, before the forward pass."""

    def after_batch(self, loss: torch.Tensor) -> None:
        """Called after each batch, its update made where one was due, before the next LR is set."""


def mixup_is_on(args: Any, epoch: int) -> bool:
    """Whether an epoch mixes: all of them, or those before ``mixup_off_epoch`` if it is not 0.

    Args:
        args: timm's settings.
        epoch: Counted from 0.
    """
    return not args.mixup_off_epoch or epoch < args.mixup_off_epoch


def begin_epoch(run: Run, epoch: int) -> None:
    """Seeds the epoch and sets samplers and mixup, before the loader is asked for batches.

    All draws follow from seed, epoch and rank, so a resumed training sees what the uninterrupted
    one would have seen.
    """
    seed_everything(run.args.seed, epoch, run.args.rank)
    set_epoch(run.loader_train, epoch)
    if run.mixup is not None:
        on = mixup_is_on(run.args, epoch)
        if run.mixup.mixup_enabled and not on and run.args.use_multi_epochs_loader:
            # That loader has asked for the epoch's first batches already: drop them.
            getattr(run.loader_train, 'loader', run.loader_train).iterator = None
        run.mixup.mixup_enabled = on


def train_epoch(run: Run, epoch: int, observer: Observer, progress: Progress) -> dict[str, float]:
    """Trains for one epoch.

    Args:
        run: The training.
        epoch: Counted from 0.
        observer: Sees every batch, before and after it is trained on.
        progress: Shows how far the epoch is.

    Returns:
        ``{'loss': mean over the epoch's images and all processes}``.

    Raises:
        NonFiniteError: If the loss has been no number for too many updates in a row.
        TrickError: If an image cannot be used.
    """
    begin_epoch(run, epoch)
    return _Epoch(run, epoch, observer, progress).train()


class _Epoch:
    """The state of an epoch under way."""

    def __init__(self, run: Run, epoch: int, observer: Observer, progress: Progress) -> None:
        self.run = run
        self.epoch = epoch
        self.observer = observer
        self.progress = progress
        self.batches = len(run.loader_train)
        # Sums stay on the device: reading them would make the processor wait for it.
        self.loss_sum = torch.zeros((), dtype=torch.float32, device=run.device)
        self.window_sum = torch.zeros((), dtype=torch.float32, device=run.device)
        self.images = 0
        self.update = epoch * run.updates_per_epoch
        self.waiting = 0.0

    def train(self) -> dict[str, float]:
        run = self.run
        run.task.get_trainable_module().train()
        run.optimizer.zero_grad()
        self.progress.begin(f'epoch {self.epoch}', self.batches)
        self.observer.on_ask(first=True)
        asked = time.perf_counter()
        for index, (images, targets) in enumerate(
                batches(run.loader_train, run.args.train_split)):
            images, targets = self._prepare(images, targets)
            self.waiting += time.perf_counter() - asked
            self.observer.on_batch(self.epoch, images, targets)
            self._step(index, images, targets)
            self.observer.on_ask(first=False)
            asked = time.perf_counter()
        if hasattr(run.optimizer, 'sync_lookahead'):
            run.optimizer.sync_lookahead()
        self.progress.end()
        return {'loss': distributed_mean(self.loss_sum / max(self.images, 1), run)}

    def _prepare(self, images: Any, targets: torch.Tensor) -> tuple[Any, torch.Tensor]:
        """What timm's prefetcher does, where it is off; and the memory layout."""
        run = self.run
        if run.args.no_prefetcher:
            images = images.to(device=run.device, dtype=run.model_dtype)
            targets = targets.to(device=run.device)
            if run.mixup is not None:
                images, targets = run.mixup(images, targets)
        if run.args.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        return images, targets

    def _window(self, index: int) -> tuple[int, bool]:
        """Batches in the accumulation that holds a batch, and whether it is the last of them."""
        size = self.run.args.grad_accum_steps
        first = index - index % size
        size = min(size, self.batches - first)
        return size, index == first + size - 1

    def _step(self, index: int, images: torch.Tensor, targets: torch.Tensor) -> None:
        """Forward and backward of a batch; an update where its accumulation is complete."""
        run = self.run
        window, complete = self._window(index)
        with nullcontext() if complete else run.task.no_sync():
            with run.autocast():
                loss = run.task(images, targets)['loss']
            self._backward(loss * (self._scale(len(images)) / window), complete)
        self.loss_sum += loss.detach() * len(images)
        self.window_sum = self.window_sum + loss.detach()
        self.images += len(images)
        if not complete:
            self.observer.after_batch(loss.detach())
            self.progress.advance(index)
            return
        run.optimizer.zero_grad()
        run.watch.add(self.window_sum)
        self.window_sum = torch.zeros_like(self.window_sum)
        self.update += 1
        run.task.update_ema(step=self.update)
        self.observer.after_batch(loss.detach())
        if run.args.synchronize_step and run.device.type == 'cuda':
            torch.cuda.synchronize()
        self._report(index, images, loss)
        interval = run.args.recovery_interval
        done = index // run.args.grad_accum_steps
        if run.saver is not None and interval and (done + 1) % interval == 0:
            with writing(run, f'the recovery checkpoint of epoch {self.epoch}'):
                run.saver.save_recovery(self.epoch, batch_idx=done)
        if run.scheduler is not None:
            run.scheduler.step_update(num_updates=self.update, metric=None)

    def _backward(self, loss: torch.Tensor, complete: bool) -> None:
        run = self.run
        args = run.args
        create_graph = bool(getattr(run.optimizer, 'is_second_order', False))
        parameters = None
        if args.clip_grad is not None:
            parameters = run.task.get_clip_parameters(exclude_head='agc' in args.clip_mode)
        if run.loss_scaler is not None:
            run.loss_scaler(
                loss, run.optimizer, clip_grad=args.clip_grad, clip_mode=args.clip_mode,
                parameters=parameters, create_graph=create_graph, need_update=complete)
            return
        loss.backward(create_graph=create_graph)
        if complete:
            if parameters is not None:
                utils.dispatch_clip_grad(parameters, value=args.clip_grad, mode=args.clip_mode)
            run.optimizer.step()

    def _scale(self, images: int) -> float:
        """The weight of a batch among batches of scheduled sizes."""
        kind = self.run.args.variable_batch_loss_scale
        if self.run.args.train_img_sizes is None or kind == 'none':
            return 1.0
        ratio = images / self.run.reference_batch
        return ratio if kind == 'linear' else ratio ** 0.5

    def _report(self, index: int, images: torch.Tensor, loss: torch.Tensor) -> None:
        """Shows the step, and stops a training that has failed.

        The loss is read where the log is due and nowhere else, on every process.
        """
        run = self.run
        updates = index // run.args.grad_accum_steps
        last = index == self.batches - 1
        if last or updates % self.progress.interval == 0:
            self._stop_if_failed(loss)
        if not self.progress.wants(updates, last):
            self.progress.advance(index)
            return
        groups = run.optimizer.param_groups
        self.progress.advance(
            index, loss=float(self.loss_sum / self.images), now=float(loss.detach()),
            lr=sum(group['lr'] for group in groups) / len(groups),
            images=self.images * run.args.world_size, waiting=self.waiting)
        if run.args.save_images and run.output_dir is not None:
            import torchvision
            torchvision.utils.save_image(
                images, run.output_dir / f'train-batch-{index}.jpg', padding=0, normalize=True)


    def _stop_if_failed(self, loss: torch.Tensor) -> None:
        """Raises NonFiniteError where updates in a row have no finite loss, or are all skipped."""
        run = self.run
        groups = run.optimizer.param_groups
        state = f'lr {max(group["lr"] for group in groups):g}, {run.dtype_name}'
        found = run.watch.found()
        if found is not None:
            update = run.start_epoch * run.updates_per_epoch + found.since
            raise NonFiniteError(
                f'stopped in epoch {self.epoch}: the loss is not finite since update {update} '
                f'(epoch {update // run.updates_per_epoch}), for {found.length} updates in a row, '
                f'now {float(loss.detach())}; {state}; try a smaller --lr, a longer '
                '--warmup-epochs or --clip-grad')
        scale = None if run.loss_scaler is None else run.loss_scaler.state_dict().get('scale')
        if scale is not None and scale < _LEAST_SCALE:
            raise NonFiniteError(
                f'stopped in epoch {self.epoch} at update {self.update}: the gradients are not '
                f'finite, so that the loss scale fell to {scale:g} and every update is skipped; '
                f'{state}; try --amp-dtype bfloat16')


def distributed_mean(value: torch.Tensor, run: Run) -> float:
    """A scalar's mean over the processes."""
    if run.args.distributed:
        value = utils.reduce_tensor(value.detach(), run.args.world_size)
    return float(value)


def validate(run: Run, progress: Progress, ema: bool = False) -> dict[str, float]:
    """Loss and accuracies over the validation images, each image counted once.

    Args:
        run: The training, with a validation loader.
        progress: Shows how far the validation is.
        ema: Whether to validate the average of the weights.

    Returns:
        timm's metrics: ``loss``, ``top1`` and ``top5``, accuracies in percent.
    """
    model = run.task.get_eval_model(ema=ema)
    model.eval()
    evaluator = run.task.create_evaluator(max_samples=evaluation_sample_limit(run.loader_eval))
    progress.begin('validation of the average' if ema else 'validation', len(run.loader_eval))
    with torch.inference_mode():
        for index, (images, targets) in enumerate(batches(run.loader_eval, run.args.val_split)):
            if run.args.no_prefetcher:
                images = images.to(device=run.device, dtype=run.model_dtype)
                targets = targets.to(device=run.device)
            if run.args.channels_last:
                images = images.contiguous(memory_format=torch.channels_last)
            with run.autocast():
                output = model(images)
            if isinstance(output, (tuple, list)):
                output = output[0]
            if run.args.tta > 1:
                output = output.unfold(0, run.args.tta, run.args.tta).mean(dim=2)
                targets = targets[::run.args.tta]
            evaluator.update(output, targets)
            progress.advance(index)
    progress.end()
    return dict(evaluator.compute(distributed=run.args.distributed))
