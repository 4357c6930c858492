"""Measures which of the options are in force in the running process."""

from __future__ import annotations

from typing import Any

import torch

from ...evidence import Evidence, Finding

__all__ = ['RuntimeEvidence']


class RuntimeEvidence(Evidence):
    """Reads the process's switches, the loaders, the first batch and one layer's output.

    Args:
        options: The planned options: ``cudnn_benchmark``, ``tf32``, ``channels_last``,
            ``pin_memory``, ``persistent_workers``.
        loaders: The loaders whose workers were planned to stay, such as ``train_dataloader``.
    """

    def __init__(self, options: list[str], loaders: list[str]) -> None:
        self._options = options
        self._loaders = loaders
        self._pinned: bool | None = None
        self._weights = self._laid_out = 0
        self._output: bool | None = None
        self._handle: Any = None

    def start(self, runner: Any) -> None:
        """Counts weights by layout, and hooks the first convolution that shows one."""
        if 'channels_last' not in self._options:
            return
        convolutions = [part for part in runner.model.modules()
                        if isinstance(part, torch.nn.Conv2d) and _tells(part.weight)]
        self._weights = len(convolutions)
        self._laid_out = sum(_channels_last(part.weight) for part in convolutions)
        if convolutions:
            self._handle = convolutions[0].register_forward_hook(self._look)

    def _look(self, module: torch.nn.Module, args: Any, output: torch.Tensor) -> None:
        if _tells(output):
            self._output = _channels_last(output)

    def before_iter(self, runner: Any, batch_idx: int, data_batch: Any) -> None:
        """Looks once at where the batch lies."""
        if self._pinned is None and 'pin_memory' in self._options:
            tensor = _first_tensor(data_batch)
            self._pinned = tensor is not None and tensor.is_pinned()

    def finding(self, runner: Any) -> Finding:
        """Each planned option with what is in force."""
        found: dict[str, bool | None] = {}
        words: list[str] = []
        for option in self._options:
            found[option], measured = getattr(self, f'_{option}')(runner)
            words.append(measured)
        live: bool | None = None if None in found.values() else True
        if False in found.values():
            live = False
        return Finding(', '.join(self._options), live, '; '.join(words), dict(found))

    def _cudnn_benchmark(self, runner: Any) -> tuple[bool | None, str]:
        on = bool(torch.backends.cudnn.benchmark)
        return on, f'cudnn.benchmark {on}'

    def _tf32(self, runner: Any) -> tuple[bool | None, str]:
        on = (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
        return all(on), f'TensorFloat-32 in products {on[0]}, in convolutions {on[1]}'

    def _channels_last(self, runner: Any) -> tuple[bool | None, str]:
        live = bool(self._laid_out) and self._laid_out == self._weights
        measured = f'{self._laid_out} of {self._weights} convolutions channels-last'
        if self._output is None:
            return (None if live else False), measured
        return live and self._output, (
            f'{measured}, and {"so is" if self._output else "not"} the output of the first')

    def _pin_memory(self, runner: Any) -> tuple[bool | None, str]:
        words = {None: 'no batch seen', True: 'the batch came pinned', False: 'the batch came '
                 'unpinned'}
        return self._pinned, words[self._pinned]

    def _persistent_workers(self, runner: Any) -> tuple[bool | None, str]:
        loops = {'train_dataloader': runner.train_loop, 'val_dataloader': runner.val_loop}
        flags = {name: bool(getattr(loops[name].dataloader, 'persistent_workers', False))
                 for name in self._loaders if loops.get(name) is not None}
        on = [name for name, flag in flags.items() if flag]
        off = [name for name, flag in flags.items() if not flag]
        unread = [name for name in self._loaders if name not in flags]
        words = [f'{text} {", ".join(names)}' for text, names in (
            ('workers stay for', on), ('NOT for', off),
            ('not built in a training:', unread)) if names]
        return (not off if flags else None), ', '.join(words)

    def close(self) -> None:
        """Takes the hook off."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None


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
