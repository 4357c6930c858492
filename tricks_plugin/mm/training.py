"""A training of mmengine's Runner, as the measurements see it."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from mmengine.hooks import EMAHook
from torch import nn
from typing_extensions import override

from ..common.processes import world_size
from ..evidence import Average, Curve, Distillation, Training
from .config_edit import get, plain
from .curves import RunUnits, asked_rates, curves, group_scales
from .optimizers import optimizers_of, wrappers_of
from .phases import switched_from
from .pretrained import loads

__all__ = ['RunnerTraining']


class RunnerTraining(Training):
    """The view of a Runner or FlexibleRunner.

    Args:
        runner: mmengine's runner. ``train`` must have been entered before `watch` is called.
    """

    def __init__(self, runner: Any) -> None:
        self.runner = runner
        self.updates = self.attempts = 0
        self.outputs: Any = None
        self._batch: Any = None
        self._begun_at = 0
        self._now: tuple[int, int] | None = None  # iteration and epoch of the batch at hand
        self._handles: list[Any] = []
        self._stepped = False

    def watch(self) -> None:
        """Notes where the training begins, and counts the optimizers' steps from now on."""
        self._begun_at = int(self.runner.iter)
        for one in self.optimizers.values():
            if hasattr(one, 'register_step_post_hook'):
                self._handles.append(one.register_step_post_hook(self._count))

    def _count(self, *args: Any) -> None:
        self._stepped = True

    def begin(self, batch: Any) -> None:
        """Takes the batch of the coming iteration."""
        # The runner counts on before the hooks of an epoch's and of the training's end are called.
        self._now = int(self.runner.iter), int(self.runner.epoch)
        self._batch, self.outputs, self._stepped = batch, None, False

    def end(self, outputs: Any) -> None:
        """Takes what the iteration returned; several optimizers' steps in it are one update."""
        self.outputs = outputs
        self.updates += self._stepped if self._handles else 1
        self.attempts += self._stepped or any(
            one.should_update() for one in wrappers_of(self.runner.optim_wrapper).values()
            if hasattr(one, 'should_update'))

    def release(self) -> None:
        """Takes the counter off the optimizers, and lets the batch go."""
        for handle in self._handles:
            handle.remove()
        self._handles, self._batch, self.outputs = [], None, None

    @property
    @override
    def model(self) -> nn.Module:
        model = self.runner.model
        while isinstance(getattr(model, 'module', None), nn.Module):
            model = model.module
        return getattr(model, '_orig_mod', model)

    @property
    @override
    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        return optimizers_of(self.runner.optim_wrapper)

    @property
    @override
    def accumulation(self) -> Mapping[str, int]:
        return {name: int(getattr(one, '_accumulative_counts', 1))
                for name, one in wrappers_of(self.runner.optim_wrapper).items()}

    @property
    @override
    def compiled(self) -> bool:
        return any(hasattr(part, '_orig_mod') for part in (
            self.runner.model, getattr(self.runner.model, 'module', None)))

    @property
    @override
    def loaded(self) -> str:
        if self._begun_at or getattr(self.runner, '_resume', False):
            return 'resume'
        if getattr(self.runner, '_load_from', None):
            return 'load_from'
        for part in (self.model, getattr(self.model, 'backbone', None)):
            if loads(getattr(part, 'init_cfg', None)):
                return 'init_cfg'
        return ''

    @override
    def forward_context(self) -> AbstractContextManager[Any]:
        wrappers = list(wrappers_of(self.runner.optim_wrapper).values())
        return wrappers[0].optim_context(self.runner.model) if wrappers else nullcontext()

    @property
    @override
    def average(self) -> Average | None:
        hook = self.component(EMAHook)
        model = getattr(hook, 'ema_model', None)
        if model is None:
            return None
        epoch, begin = hook.begin_epoch, hook.begin_iter
        due = self.epoch + 1 >= epoch if hook.enabled_by_epoch else self.iteration + 1 >= begin
        first = max(epoch - 1, 0) * self.epoch_length if hook.enabled_by_epoch \
            else max(begin - 1, 0)
        total = (self.max_iterations - first) // max(int(model.interval), 1)
        return Average(model.module, hook.src_model, _share(model), due, total,
                       bool(model.update_buffers))

    @property
    @override
    def distillation(self) -> Distillation | None:
        return next((one for hook in self.runner.hooks if isinstance(
            one := getattr(hook, 'distillation', None), Distillation)), None)

    @property
    @override
    def loss_scales(self) -> list[float]:
        return [float(one.loss_scaler.get_scale())
                for one in wrappers_of(self.runner.optim_wrapper).values()
                if hasattr(one, 'loss_scaler')]

    @property
    @override
    def criterion(self) -> None:
        return None

    @property
    @override
    def loaders(self) -> Mapping[str, Any]:
        found = {'train': self.runner.train_dataloader}
        # Asking the runner for its validation loop would build it.
        val = getattr(getattr(self.runner, '_val_loop', None), 'dataloader', None)
        return found if val is None else {**found, 'val': val}

    @override
    def component(self, kind: type) -> Any:
        return next((part for hook in self.runner.hooks for part in (hook, *vars(hook).values())
                     if isinstance(part, kind)), None)

    @override
    def replaced_from(self, kind: type) -> int | None:
        return switched_from(self.runner, kind)

    @functools.cached_property
    def _settings(self) -> dict[str, Any]:
        return plain(self.runner.cfg)

    @property
    @override
    def schedule(self) -> Mapping[str, Curve]:
        return curves(self._settings, self.optimizers,
                      RunUnits(self.epoch_length, self.max_iterations))

    @property
    @override
    def asked_lr(self) -> Mapping[str, float]:
        return asked_rates(self._settings)

    @property
    @override
    def lr_scales(self) -> Mapping[str, Collection[float]]:
        return group_scales(self._settings)

    @property
    @override
    def lr_batch_size(self) -> int | None:
        return get(self._settings, 'auto_scale_lr.base_batch_size')

    @property
    @override
    def iteration(self) -> int:
        return int(self.runner.iter) if self._now is None else self._now[0]

    @property
    @override
    def epoch(self) -> int:
        return int(self.runner.epoch) if self._now is None else self._now[1]

    @property
    @override
    def begun_at(self) -> int:
        return self._begun_at

    @property
    @override
    def by_epoch(self) -> bool:
        from mmengine.runner import IterBasedTrainLoop
        return not isinstance(self.runner.train_loop, IterBasedTrainLoop)

    @property
    @override
    def max_iterations(self) -> int:
        return int(self.runner.max_iters)

    @property
    @override
    def max_epochs(self) -> int:
        if self.by_epoch:
            return int(self.runner.max_epochs)
        return math.ceil(self.max_iterations / self.epoch_length)

    @property
    @override
    def epoch_length(self) -> int:
        return len(self.runner.train_dataloader)

    @property
    @override
    def world_size(self) -> int:
        return world_size()

    @property
    @override
    def device(self) -> torch.device:
        return next((value.device for value in self.runner.model.parameters()),
                    torch.device('cpu'))

    @property
    @override
    def batch(self) -> Any:
        return self._batch

    @property
    @override
    def samples(self) -> int:
        inputs = self.images
        if isinstance(inputs, dict):  # semi-supervised batches hold one list per branch
            return max((len(item) for item in inputs.values()), default=0)
        return len(inputs) if hasattr(inputs, '__len__') else 0

    @property
    @override
    def images(self) -> Any:
        batch = self._batch
        if isinstance(batch, dict):
            return batch.get('inputs', next(iter(batch.values()), ()))
        return batch[0] if isinstance(batch, (list, tuple)) and batch else ()

    @property
    @override
    def targets(self) -> Any:
        batch = self._batch
        if isinstance(batch, dict):
            return batch.get('data_samples', ())
        return batch[1] if isinstance(batch, (list, tuple)) and len(batch) > 1 else ()


def _share(model: Any) -> float | None:
    """The share of the new weights in the latest update of mmengine's averaged model.

    Asked of the model's own ``avg_func``, so that it holds for every rule that mixes linearly.
    """
    made = int(model.steps) - 1
    if made <= 0:  # the very first update copies the weights
        return 1.0
    if made % model.interval:
        return 0.0
    mixed = torch.tensor([0.0, 1.0])
    # On a copy that stands where the model stood: some read their own count of updates.
    before = copy.copy(model)
    before.__dict__['_buffers'] = {**dict(model.named_buffers(recurse=False)),
                                   'steps': torch.tensor(made)}
    before.avg_func(mixed, torch.tensor([1.0, 0.0]), made)
    share, rest = mixed.tolist()
    return share if math.isclose(share + rest, 1.0, abs_tol=1e-6) else None
