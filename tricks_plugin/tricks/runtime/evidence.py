"""Measures which of the options are in force in the running process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from ...evidence import Evidence, Finding, Training

__all__ = ['RuntimeEvidence']

_FIRST, _EVERY = 3, 16  # the iterations that are looked at


class RuntimeEvidence(Evidence):
    """Reads the process's switches, the loaders, the latest batch, the weights and one output.

    What this machine has no GPU for cannot be told, and is no fault.

    Args:
        options: The options: ``cudnn_benchmark``, ``tf32``, ``channels_last``, ``pin_memory``,
            ``persistent_workers``.
        loaders: The loaders whose workers stay if they have any, such as ``train_dataloader``.
    """

    def __init__(self, options: Sequence[str], loaders: Sequence[str] = ()) -> None:
        self._options = list(options)
        self._loaders = list(loaders)
        self._seen = 0
        self._pinned: bool | None = None
        self._output: bool | None = None
        self._handle: Any = None

    def start(self, training: Training) -> None:
        """Hooks the first convolution whose output shows a layout."""
        convolutions = _convolutions(training.model)
        if 'channels_last' in self._options and convolutions and not training.compiled:
            self._handle = convolutions[0].register_forward_hook(self._look)

    def _look(self, module: nn.Module, args: Any, output: torch.Tensor) -> None:
        if _tells(output):
            self._output = _channels_last(output)

    def before_iteration(self, training: Training) -> None:
        """Looks at where the batch lies, in the first iterations and some later ones."""
        self._seen += 1
        if 'pin_memory' not in self._options or self._seen > _FIRST and self._seen % _EVERY:
            return
        tensor = _first_tensor(training.batch)
        if tensor is not None and tensor.device.type != 'cpu':  # a prefetcher copied it
            self._pinned = bool(getattr(training.loaders.get('train'), 'pin_memory', False))
        elif tensor is not None:
            self._pinned = tensor.is_pinned()

    def finding(self, training: Training) -> Finding:
        """Each option with what is in force."""
        found: dict[str, Any] = {}
        words: list[str] = []
        for option in self._options:
            found[option], measured = getattr(self, f'_{option}')(training)
            words.append(measured)
        live: bool | None = None if None in found.values() else True
        if False in found.values():
            live = False
        return Finding(', '.join(self._options), live, '; '.join(words), dict(found))

    def _cudnn_benchmark(self, training: Training) -> tuple[bool | None, str]:
        on = bool(torch.backends.cudnn.benchmark)
        return on, f'cudnn.benchmark {on}'

    def _tf32(self, training: Training) -> tuple[bool | None, str]:
        if not torch.cuda.is_available() or torch.cuda.get_device_capability() < (8, 0):
            return None, 'no TensorFloat-32 on this device'
        on = (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
        return all(on), f'TensorFloat-32 in products {on[0]}, in convolutions {on[1]}'

    def _channels_last(self, training: Training) -> tuple[bool | None, str]:
        layers = _convolutions(training.model)
        laid_out = sum(_channels_last(layer.weight) for layer in layers)
        live = bool(layers) and laid_out == len(layers)
        measured = f'{laid_out} of {len(layers)} convolutions channels-last'
        if self._output is None:
            return (None if live else False), measured
        return live and self._output, (
            f'{measured}, and {"so is" if self._output else "not"} the output of the first')

    def _pin_memory(self, training: Training) -> tuple[bool | None, str]:
        if not torch.cuda.is_available():
            return None, 'no GPU to pin batches for'
        words = {None: 'no batch seen', True: 'the batch came pinned', False: 'the batch came '
                 'unpinned'}
        return self._pinned, words[self._pinned]

    def _persistent_workers(self, training: Training) -> tuple[bool | None, str]:
        built = training.loaders
        found = {name: loader for name in self._loaders
                 if (loader := built.get(name.removesuffix('_dataloader'))) is not None
                 and loader.num_workers}
        on = [name for name, loader in found.items() if loader.persistent_workers]
        off = [name for name in found if name not in on]
        unread = [name for name in self._loaders if name not in found]
        words = [f'{text} {", ".join(names)}' for text, names in (
            ('workers stay for', on), ('NOT for', off),
            ('not built, or without workers:', unread)) if names]
        return (not off if found else None), ', '.join(words)

    def close(self) -> None:
        """Takes the hook off."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None


def _convolutions(model: nn.Module) -> list[nn.Conv2d]:
    return [part for part in model.modules() if isinstance(part, nn.Conv2d) and _tells(part.weight)]


def _channels_last(tensor: torch.Tensor) -> bool:
    return tensor.is_contiguous(memory_format=torch.channels_last)


def _tells(tensor: torch.Tensor) -> bool:
    """Whether a tensor's layout can be told: with one channel or one pixel it is both."""
    return tensor.dim() == 4 and not (tensor.is_contiguous() and _channels_last(tensor)) \
        and tensor.shape[1] > 1 and max(tensor.shape[2:]) > 1


def _first_tensor(batch: Any) -> torch.Tensor | None:
    """The first tensor of a nested batch."""
    if isinstance(batch, torch.Tensor):
        return batch
    if isinstance(batch, dict):
        batch = list(batch.values())
    if isinstance(batch, (list, tuple)):
        return next((found for one in batch if (found := _first_tensor(one)) is not None), None)
    return None
