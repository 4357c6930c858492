"""Measures what a built model is: scales at zero, synchronized norms, the ResNet variant."""

from __future__ import annotations

import types
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from ...evidence import Finding
from ...tricks.resnet_d.evidence import ResNetVariantEvidence
from ...tricks.sync_bn.convert import is_synchronized
from ...tricks.zero_gamma.functional import last_norm
from .base import Measurement

__all__ = ['SyncBnMeasurement', 'VariantMeasurement', 'ZeroScaleMeasurement']


class ZeroScaleMeasurement(Measurement):
    """Counts, before the first update, the last scales of residual branches that are zero."""

    trick = 'zero_gamma'

    def __init__(self, run: Any) -> None:
        super().__init__(run)
        self._zero = self._norms = self._last = self._last_zero = 0

    @classmethod
    def active(cls, run: Any) -> bool:
        """Where ``model_kwargs`` asks for it; timm's own default makes no promise."""
        return (run.args.model_kwargs or {}).get('zero_init_last') is True

    def start(self) -> None:
        """Reads the scales once."""
        last = set()
        for block in self.run.model.modules():
            norm = last_norm(block)
            if isinstance(getattr(norm, 'weight', None), torch.Tensor):
                last.add(norm)
        zero = {module for module in self.run.model.modules() if _is_zero(module)}
        self._norms = sum(_scale(module) is not None for module in self.run.model.modules())
        self._zero, self._last, self._last_zero = len(zero), len(last), len(last & zero)

    def finding(self) -> Finding:
        """The counts; weights that were loaded have no start to tell of."""
        args, planned = self.run.args, 'last scales start at zero'
        loaded = [name for name in ('pretrained', 'initial_checkpoint', 'resume')
                  if getattr(args, name)]
        values = {'zero': self._zero, 'norms': self._norms, 'residual_branches': self._last,
                  'residual_branches_zero': self._last_zero}
        if loaded or self.run.start_epoch:
            return Finding(planned, None, f'weights were loaded ({", ".join(loaded) or "resume"})',
                           values)
        measured = f'{self._zero} of {self._norms} norms started with zero scales'
        if not self._last:
            return Finding(planned, self._zero > 0, measured, values)
        measured += f'; {self._last_zero} of {self._last} residual branches end in one'
        return Finding(planned, self._last_zero == self._last, measured, values)


def _scale(module: torch.nn.Module) -> torch.Tensor | None:
    """The weight of a norm, or of another module with one number per channel."""
    weight = getattr(module, 'weight', None)
    return weight.detach() if isinstance(weight, torch.Tensor) and weight.dim() == 1 else None


def _is_zero(module: torch.nn.Module) -> bool:
    scale = _scale(module)
    return scale is not None and not scale.any()


class SyncBnMeasurement(Measurement):
    """Counts the BatchNorm layers by kind, in the modes in which they train."""

    trick = 'sync_bn'

    def __init__(self, run: Any) -> None:
        super().__init__(run)
        self._counts: dict[str, int] = {}

    @classmethod
    def active(cls, run: Any) -> bool:
        """With ``sync_bn``."""
        return bool(run.args.sync_bn)

    def on_batch(self, epoch: int, images: torch.Tensor, targets: torch.Tensor) -> None:
        """Counts once."""
        if self._counts:
            return
        kinds = {'synchronized': 0, 'plain': 0, 'frozen': 0}
        for module in self.run.model.modules():
            if not (is_synchronized(module) or isinstance(module, _BatchNorm)):
                continue
            kinds['frozen' if not module.training else
                  'synchronized' if is_synchronized(module) else 'plain'] += 1
        self._counts = kinds

    def finding(self) -> Finding:
        """The counts and the number of processes."""
        world = int(self.run.args.world_size)
        planned = f'BN statistics over {world} process(es)'
        if not self._counts:
            return Finding(planned, None, 'no batch yet')
        synced, plain = self._counts['synchronized'], self._counts['plain']
        measured = (f'{synced} BN layers synchronized, {plain} not, {self._counts["frozen"]} '
                    'frozen')
        if world == 1:
            measured = (f'one process holds the whole batch: {synced + plain} BN layers train, '
                        f'{self._counts["frozen"]} frozen')
        live = synced + plain > 0 if world == 1 else synced > 0 and plain == 0
        return Finding(planned, live, measured, {**self._counts, 'processes': world})


class VariantMeasurement(Measurement):
    """Reads stem, strides and shortcuts of the built ResNet."""

    trick = 'resnet_d'

    def __init__(self, run: Any) -> None:
        super().__init__(run)
        name = str(run.args.model).split('.')[0]
        self._evidence = ResNetVariantEvidence(name[-1] if name[-1] in 'cd' else 'b', False)

    def start(self) -> None:
        """Reads the model once."""
        model = types.SimpleNamespace(backbone=self.run.model)
        self._evidence.start(types.SimpleNamespace(model=model))

    def finding(self) -> Finding:
        """The variant that was built."""
        return self._evidence.finding(self.run)
