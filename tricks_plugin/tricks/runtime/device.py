"""The GPU of this machine."""

from __future__ import annotations

__all__ = ['capability']


def capability() -> tuple[int, ...]:
    """The GPU's compute capability; empty without a GPU."""
    import torch
    return torch.cuda.get_device_capability() if torch.cuda.is_available() else ()
