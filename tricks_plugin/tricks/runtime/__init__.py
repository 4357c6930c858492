"""Small options that make a training step or its data faster and change nothing that it learns."""

from .functional import fixed_size, needs_plain_layout

__all__ = ['fixed_size', 'needs_plain_layout']
