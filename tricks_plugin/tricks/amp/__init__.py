"""16-bit mixed precision: bfloat16 where device and model have it, float16 elsewhere."""

from .functional import pick_dtype

__all__ = ['pick_dtype']
