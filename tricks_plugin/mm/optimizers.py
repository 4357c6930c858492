"""The optimizers inside mmengine's wrappers, one or several."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ['optimizers_of', 'wrappers_of']


def wrappers_of(optim_wrapper: Any) -> dict[str, Any]:
    """Mmengine's optimizer wrappers by name; ``''`` for the only one.

    Args:
        optim_wrapper: An OptimWrapper, an OptimWrapperDict, or None before they are built.
    """
    if optim_wrapper is None:
        return {}
    if hasattr(optim_wrapper, 'optim_wrappers'):
        return dict(optim_wrapper.items())
    return {'': optim_wrapper}


def optimizers_of(optim_wrapper: Any) -> dict[str, torch.optim.Optimizer]:
    """The optimizers inside the wrappers, by the same names."""
    return {name: one.optimizer for name, one in wrappers_of(optim_wrapper).items()}
