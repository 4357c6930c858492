"""What the device of this machine computes in."""

from __future__ import annotations

__all__ = ['has_bfloat16', 'kind', 'why_not']


def kind() -> str:
    """The kind of device that mmengine would train on."""
    import torch
    return 'cuda' if torch.cuda.is_available() else 'cpu'


def has_bfloat16(device: str) -> bool:
    """Whether a device computes in bfloat16 itself, rather than by emulation.

    Args:
        device: ``'cuda'`` or ``'cpu'``.
    """
    import torch
    if device != 'cuda':
        return device == 'cpu'
    if not torch.cuda.is_available():
        return False
    if torch.version.hip:
        return torch.cuda.is_bf16_supported()
    return torch.cuda.get_device_capability() >= (8, 0)


def why_not(dtype: str, device: str, half_only: str) -> str:
    """Why a format would not train here; empty if it would.

    Args:
        dtype: ``'bfloat16'`` or ``'float16'``.
        device: The kind of device.
        half_only: The part of the model that knows float16, but not bfloat16; or empty.
    """
    if dtype == 'float16':
        return '' if device == 'cuda' else \
            f'float16 needs a GPU, and this machine trains on the {device.upper()}'
    if half_only:
        return (f"{half_only} uses a compiled operation of mmcv, which has no bfloat16"
                + ('' if device == 'cuda' else ', and float16 needs a GPU'))
    return '' if has_bfloat16(device) else f'this {device.upper()} device has no bfloat16'
