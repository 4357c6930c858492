"""The learning rate in proportion to the effective batch."""

from .functional import effective_batch_size, linear_scaled_lr

__all__ = ['effective_batch_size', 'linear_scaled_lr']
