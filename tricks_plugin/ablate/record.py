"""What a training tells an ablation, whoever trains: its time, and how it began."""

from __future__ import annotations

import hashlib
import time
from typing import Any

__all__ = ['BATCHES', 'Clock', 'weights_digest']

BATCHES = 32  # whose images tell two orders apart


class Clock:
    """Training time: it stands still while something else goes on."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._since: float | None = None

    @property
    def seconds(self) -> float:
        """So far."""
        running = 0.0 if self._since is None else time.perf_counter() - self._since
        return self._seconds + running

    def start(self) -> None:
        """Goes on."""
        if self._since is None:
            self._since = time.perf_counter()

    def stop(self) -> None:
        """Stands still, once the GPU has done what was asked of it."""
        import torch
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self._seconds, self._since = self.seconds, None


def weights_digest(model: Any) -> str:
    """A digest of a model's parameters and buffers, by name and value."""
    import torch
    total = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        total.update(name.removeprefix('module.').encode())
        if hasattr(tensor, 'detach'):
            total.update(repr(tensor.dtype).encode())
            flat = tensor.detach().cpu().contiguous().flatten()
            total.update(flat.view(torch.uint8).numpy())
    return total.hexdigest()[:16]
