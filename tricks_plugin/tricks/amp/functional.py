"""Which 16-bit format a training should compute in."""

from __future__ import annotations

__all__ = ['pick_dtype']


def pick_dtype(device: str, has_bfloat16: bool, half_only: bool) -> str | None:
    """The 16-bit format for a device and a model.

    bfloat16 keeps float32's range, so it needs no loss scaling and does not overflow. float16 is
    left where bfloat16 is missing in the device or in an operation of the model.

    Args:
        device: ``'cuda'``, ``'cpu'`` or any other torch device type.
        has_bfloat16: Whether the device computes in bfloat16.
        half_only: Whether the model has operations that know float16, but not bfloat16.

    Returns:
        ``'bfloat16'``, ``'float16'``, or None where neither would train. The CPU has no float16:
        torch's loss scaling is made for accelerators.

    Example:
        >>> pick_dtype('cuda', has_bfloat16=False, half_only=False)
        'float16'
        >>> pick_dtype('cpu', has_bfloat16=True, half_only=False)
        'bfloat16'
    """
    if has_bfloat16 and not half_only and device in ('cuda', 'cpu'):
        return 'bfloat16'
    return 'float16' if device == 'cuda' else None
