"""Measures whether BatchNorm layers really use statistics of more than the local batch."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from ...common.sync_bn import FROZEN, survey
from ...evidence import Evidence, Finding, Training

__all__ = ['SyncBnEvidence']

_FIRST, _EVERY = 3, 50  # the iterations that are measured, beside the first of each epoch
_TELLING = 1e-3  # plain BN leaves rounding errors, images of other processes some percent


class SyncBnEvidence(Evidence):
    """Looks at the outputs of up to three BatchNorm layers: the first, middle and last.

    A plain BatchNorm gives every channel of the local batch the mean ``bias`` exactly. A
    synchronized one gives that mean to the batch of all processes, so the local mean is off, by
    the difference between the local images and the others: |mean(y) - bias| / |weight|, norms over
    the channels. That is measured from what the layers put out, without asking other processes,
    and judged by the latest measurements. One process holds the whole batch, and plain layers keep
    the promise.
    """

    def __init__(self) -> None:
        self._seen = 0
        self._epoch = -1
        self._armed = False
        self._hooked = True
        self._counts: dict[str, int] = {}
        self._watched: dict[str, nn.Module] = {}
        self._fresh: dict[str, list[torch.Tensor]] = {}  # since the last finding
        self._offsets: dict[str, float] = {}  # the largest by layer, of the latest measurements
        self._outputs = 0
        self._handles: list[Any] = []

    def start(self, training: Training) -> None:
        """Learns whether layers can be hooked at all."""
        self._hooked = not training.compiled

    def before_iteration(self, training: Training) -> None:
        """Counts the layers in the modes in which they train; picks iterations to measure."""
        self._armed = self._seen < _FIRST or self._seen % _EVERY == 0 \
            or training.epoch != self._epoch
        self._epoch = training.epoch
        self._seen += 1
        if self._armed:
            self._look(training.model)

    def _look(self, model: nn.Module) -> None:
        found = survey(model)
        modules = dict(model.named_modules())
        synced = [name for name in found.already if modules[name].training]
        frozen = sum(reason == FROZEN for reason in found.left.values())
        self._counts = {
            'synchronized': len(synced), 'plain': len(found.trains),
            'frozen': frozen + len(found.already) - len(synced),
            'left_for_other_reasons': len(found.left) - frozen,
        }
        names = synced or found.trains
        picked = {name: modules[name] for name in
                  ((names[0], names[len(names) // 2], names[-1]) if names else ())}
        if picked != self._watched:
            self.close()
            self._watched, self._offsets, self._fresh = picked, {}, {}
            for name, module in picked.items() if self._hooked else ():
                self._handles.append(self._watch(name, module))

    def _watch(self, name: str, module: nn.Module) -> Any:
        """Has what a layer normalized measured; timm's layers drop and activate it afterwards."""
        after = getattr(module, 'drop', None)
        if isinstance(after, nn.Module):
            return after.register_forward_pre_hook(
                lambda _, inputs: self._measure(name, module, inputs[0]))
        return module.register_forward_hook(
            lambda _, inputs, output: self._measure(name, module, output))

    def _measure(self, name: str, module: Any, output: torch.Tensor) -> None:
        if not self._armed or not module.training or not output.numel():
            return
        with torch.no_grad():
            over = [0, *range(2, output.dim())]
            dtype = torch.promote_types(output.dtype, torch.float32)
            offset = output.mean(over, dtype=dtype)
            scale = offset.new_tensor(math.sqrt(offset.numel()))
            if module.weight is not None:
                offset, scale = offset - module.bias, module.weight.norm()
            self._fresh.setdefault(name, []).append(offset.norm() / scale)

    def finding(self, training: Training) -> Finding:
        """Counts of layers, and the offsets of local means in the latest measurements."""
        for name, fresh in self._fresh.items():
            finite = [value for value in map(float, fresh) if math.isfinite(value)]
            self._outputs += len(finite)
            if finite:
                self._offsets[name] = max(finite)
        self._fresh = {}
        world = training.world_size
        values = {**self._counts, 'processes': world, 'measured_outputs': self._outputs,
                  'offset': max(self._offsets.values(), default=None), 'offsets': self._offsets}
        return Finding(f'BN statistics over {world} process(es)', self._live(world),
                       self._measured(world), dict(values))

    def _live(self, world: int) -> bool | None:
        if not self._counts:
            return None
        if world == 1:
            return bool(self._counts['synchronized'] or self._counts['plain'])
        if not self._counts['synchronized'] or self._counts['plain']:
            return False  # plain ones that train were to be converted
        return min(self._offsets.values()) > _TELLING if self._offsets else None

    def _measured(self, world: int) -> str:
        if not self._counts:
            return 'no iteration yet'
        synced, plain = self._counts['synchronized'], self._counts['plain']
        frozen = f"{self._counts['frozen']} frozen"
        if not synced + plain:
            return f'no BN layer trains, {frozen}'
        if world == 1:
            return f'one process holds the whole batch: {synced + plain} BN layers train, {frozen}'
        parts = [f'{synced} BN layers synchronized, {plain} not, {frozen}']
        if self._counts['left_for_other_reasons']:
            parts.append(f"{self._counts['left_for_other_reasons']} left for other reasons")
        if self._offsets:
            low, high = min(self._offsets.values()), max(self._offsets.values())
            parts.append(f'local means off by {low:.2g} to {high:.2g} std (plain BN: 0)')
        elif not self._hooked:
            parts.append('the model is compiled, so what they put out is not measured')
        return '; '.join(parts)

    def close(self) -> None:
        """Takes the hooks off the layers."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
