"""Measures the format and the memory layout in which the model really computes."""

from __future__ import annotations

import types
from typing import Any

import torch

from ...evidence import Finding
from ...tricks.amp.evidence import AutocastEvidence
from ...tricks.runtime.evidence import RuntimeEvidence
from .base import Measurement

__all__ = ['AmpMeasurement', 'RuntimeMeasurement']

_EVERY = 16  # batches whose layout is looked at


def _is_compiled(args: Any) -> bool:
    """Whether hooks on layers would change, or never be called in, a compiled model."""
    return bool(args.torchcompile or args.torchscript)


class AmpMeasurement(Measurement):
    """Reads the dtype of a layer's output, and counts the updates that the loss scaler skipped."""

    trick = 'amp'

    def __init__(self, run: Any) -> None:
        super().__init__(run)
        self._evidence = AutocastEvidence(run.args.amp_dtype)
        self._updates = self._steps = 0
        self._handle: Any = None

    @classmethod
    def active(cls, run: Any) -> bool:
        """With ``amp``."""
        return bool(run.args.amp)

    def start(self) -> None:
        """Hooks a layer, and the optimizer where a scaler may skip its steps."""
        if not _is_compiled(self.run.args):
            self._evidence.start(self.run)
        if self.run.loss_scaler is not None:
            self._handle = self.run.optimizer.register_step_post_hook(self._count)

    def _count(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        self._steps += 1

    def on_update(self, update: int) -> None:
        """Counts the updates that were due."""
        self._updates += 1

    def finding(self) -> Finding:
        """The format seen, and the loss scale with the skipped updates."""
        # The room's evidence asks mmengine's wrapper for a scaler; timm's stands beside it.
        seen = self._evidence.finding(types.SimpleNamespace(optim_wrapper=None))
        values, measured, live = dict(seen.values), seen.measured, seen.live
        if _is_compiled(self.run.args):
            with self.run.autocast():
                ones = torch.ones(2, 2, device=self.run.device)
                found = str((ones @ ones).dtype).removeprefix('torch.')
            live = found == self.run.args.amp_dtype
            measured = f'the model is compiled; a product in its context comes out in {found}'
            values['outputs'] = {found: 1}
        if self.run.loss_scaler is not None:
            scale = float(self.run.loss_scaler.state_dict().get('scale', 1.0))
            # Lookahead has no hooks: without a single call they tell nothing.
            skipped = self._updates - self._steps if self._steps else None
            measured += f'; loss scale {scale:g}'
            if skipped is not None:
                measured += f', {skipped} of {self._updates} updates skipped'
            values |= {'loss_scales': [scale], 'skipped': skipped, 'updates': self._updates}
        return Finding(seen.planned, live, measured, values)

    def close(self) -> None:
        """Takes the hooks off."""
        self._evidence.close()
        if self._handle is not None:
            self._handle.remove()
            self._handle = None


class RuntimeMeasurement(Measurement):
    """Reads the layout of images, weights and one output, and whether the loader pins memory."""

    trick = 'runtime'

    def __init__(self, run: Any) -> None:
        super().__init__(run)
        self._layers = RuntimeEvidence(['channels_last'], [])
        self._batches = self._seen = self._laid_out = 0

    @classmethod
    def active(cls, run: Any) -> bool:
        """With ``channels_last``."""
        return bool(run.args.channels_last)

    def start(self) -> None:
        """Counts the weights by layout, and hooks the first convolution."""
        if self._reads_layers():
            self._layers.start(self.run)
            if _is_compiled(self.run.args):
                self._layers.close()

    def _reads_layers(self) -> bool:
        """Whether the model still has its layers as Python modules."""
        return bool(self.run.args.channels_last and not self.run.args.torchscript)

    def on_batch(self, epoch: int, images: torch.Tensor, targets: torch.Tensor) -> None:
        """Looks at the layout of some batches."""
        self._batches += 1
        if self._batches % _EVERY != 1 or images.dim() != 4:
            return
        last = images.is_contiguous(memory_format=torch.channels_last)
        if not (last and images.is_contiguous()):  # images of one channel are both
            self._seen += 1
            self._laid_out += last

    def finding(self) -> Finding:
        """The layouts seen, and the loader's pinning."""
        args = self.run.args
        verdicts: list[bool | None] = []
        planned, words = [], []
        values: dict[str, Any] = {}
        if args.channels_last:
            planned.append('channels_last')
            verdicts.append(self._laid_out == self._seen if self._seen else None)
            words.append(f'{self._laid_out} of {self._seen} batches channels-last')
            values |= {'batches': self._seen, 'batches_channels_last': self._laid_out}
        if self._reads_layers():
            layers = self._layers.finding(self.run)
            verdicts.append(layers.live)
            words.append(layers.measured)
            values['layers_channels_last'] = layers.live
        if args.pin_mem:
            loader = getattr(self.run.loader_train, 'loader', self.run.loader_train)
            pins = bool(getattr(loader, 'pin_memory', False)) and torch.cuda.is_available()
            planned.append('pin_mem')
            verdicts.append(pins)
            words.append('the loader pins its batches' if pins else 'no batch is pinned')
            values['pin_memory'] = pins
        if not planned:
            return Finding('none of its options on this device', None, 'nothing to measure')
        live = False if False in verdicts else None if None in verdicts else True
        return Finding(', '.join(planned), live, '; '.join(words), values)

    def close(self) -> None:
        """Takes the hook off."""
        self._layers.close()
