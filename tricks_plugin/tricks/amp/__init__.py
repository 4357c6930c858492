"""16-bit mixed precision: bfloat16 where device and model have it, float16 elsewhere."""

from . import trick  # noqa: F401

COMPONENTS = {'BFloat16OptimWrapper': 'wrapper'}
