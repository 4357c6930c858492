"""Measures whether BatchNorm layers really use statistics of more than the local batch."""

from __future__ import annotations

import math
from typing import Any

import torch
from mmengine.dist import get_world_size

from ...evidence import Evidence, Finding
from .convert import FROZEN, survey

__all__ = ['SyncBnEvidence']

_FIRST, _EVERY = 3, 50  # the iterations that are measured
_TELLING = 1e-3  # plain BN leaves rounding errors, images of other processes some percent


class SyncBnEvidence(Evidence):
    """Looks at the outputs of up to three BatchNorm layers: the first, middle and last.

    A plain BatchNorm gives every channel of the local batch the mean ``bias`` exactly. A
    synchronized one gives that mean to the batch of all processes, so the local mean is off, by
    the difference between the local images and the others: |mean(y) - bias| / |weight|, norms over
    the channels. That is measured from what the layers put out, without asking other processes.
    One process holds the whole batch, and plain layers keep the promise.
    """

    def __init__(self) -> None:
        self._world = 1
        self._seen = 0
        self._armed = False
        self._counts: dict[str, int] = {}
        self._offsets: list[torch.Tensor] = []  # since the last finding
        self._largest: float | None = None
        self._outputs = 0
        self._handles: list[Any] = []

    def start(self, runner: Any) -> None:
        """Learns how many processes there are."""
        self._world = get_world_size()

    def before_iter(self, runner: Any, batch_idx: int, data_batch: Any) -> None:
        """Counts the layers once, in the modes in which they train; picks iterations to measure."""
        if not self._seen:
            self._attach(runner.model)
        self._armed = self._seen < _FIRST or self._seen % _EVERY == 0
        self._seen += 1

    def _attach(self, model: torch.nn.Module) -> None:
        found = survey(model)
        modules = dict(model.named_modules())
        synced = [name for name in found.already if modules[name].training]
        frozen = sum(reason == FROZEN for reason in found.left.values())
        self._counts = {
            'synchronized': len(synced), 'plain': len(found.trains),
            'frozen': frozen + len(found.already) - len(synced),
            'left_for_other_reasons': len(found.left) - frozen,
        }
        training = synced or found.trains
        for name in sorted({training[0], training[len(training) // 2], training[-1]}
                           if training else ()):
            self._handles.append(self._watch(modules[name]))

    def _watch(self, module: torch.nn.Module) -> Any:
        """Has what a layer normalized measured; timm's layers drop and activate it afterwards."""
        after = getattr(module, 'drop', None)
        if isinstance(after, torch.nn.Module):
            return after.register_forward_pre_hook(
                lambda _, inputs: self._measure(module, (), inputs[0]))
        return module.register_forward_hook(self._measure)

    def _measure(self, module: Any, inputs: Any, output: torch.Tensor) -> None:
        if not self._armed or not module.training or not output.numel():
            return
        with torch.no_grad():
            over = [0, *range(2, output.dim())]
            dtype = torch.promote_types(output.dtype, torch.float32)
            offset = output.mean(over, dtype=dtype)
            scale = offset.new_tensor(math.sqrt(offset.numel()))
            if module.weight is not None:
                offset, scale = offset - module.bias, module.weight.norm()
            self._offsets.append(offset.norm() / scale)

    def finding(self, runner: Any) -> Finding:
        """Counts of layers, and the largest offset of a local mean so far."""
        offsets = [value for value in map(float, self._offsets) if math.isfinite(value)]
        self._offsets = []
        self._outputs += len(offsets)
        if offsets:
            self._largest = max(offsets + [self._largest or 0.0])
        values = {**self._counts, 'processes': self._world, 'offset': self._largest,
                  'measured_outputs': self._outputs}
        return Finding(f'BN statistics over {self._world} process(es)', self._live(),
                       self._measured(), values)

    def _live(self) -> bool | None:
        if not self._counts:
            return None
        if self._world == 1:
            return bool(self._counts['synchronized'] or self._counts['plain'])
        if not self._counts['synchronized'] or self._counts['plain']:
            return False  # plain ones that train were to be converted
        return None if self._largest is None else self._largest > _TELLING

    def _measured(self) -> str:
        if not self._counts:
            return 'no iteration yet'
        synced, plain = self._counts['synchronized'], self._counts['plain']
        frozen = f"{self._counts['frozen']} frozen"
        if not synced + plain:
            return f'no BN layer trains, {frozen}'
        if self._world == 1:
            return f'one process holds the whole batch: {synced + plain} BN layers train, {frozen}'
        parts = [f'{synced} BN layers synchronized, {plain} not, {frozen}']
        if self._counts['left_for_other_reasons']:
            parts.append(f"{self._counts['left_for_other_reasons']} left for other reasons")
        if self._largest is not None:
            parts.append(f'local means off by up to {self._largest:.2g} std (plain BN: 0)')
        return '; '.join(parts)

    def close(self) -> None:
        """Takes the hooks off the layers."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
