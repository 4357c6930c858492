"""What the device of this machine computes in."""

from __future__ import annotations

import functools
import platform
from pathlib import Path

__all__ = ['has_bfloat16', 'kind', 'why_not', 'why_slow']

_INSTRUCTIONS = {'avx512_bf16', 'amx_bf16', 'bf16'}  # the last is ARM's


def kind() -> str:
    """The kind of device that mmengine would train on."""
    import torch
    return 'cuda' if torch.cuda.is_available() else 'cpu'


def has_bfloat16(device: str) -> bool:
    """Whether a training in bfloat16 runs on a device; a GPU must do so itself.

    A CPU without instructions for it computes by emulation: see `why_slow`.

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


def why_slow(device: str, half_only: bool = False) -> str:
    """Why 16 bits cost time on this machine's device in place of saving it; empty if they do not.

    Args:
        device: The kind of device.
        half_only: Whether the model knows float16 alone, which a CPU does not train in at all.
    """
    if device != 'cpu' or half_only:
        return ''
    known = _instructions()
    if not known or known & _INSTRUCTIONS:
        return ''
    return ('this CPU has no instructions for bfloat16 (avx512_bf16, amx_bf16, or bf16 of ARM), '
            'and a step in it took 6 to 8 times as long as in float32 on an AMD EPYC with AVX2, '
            '1.3 times on another CPU (benchmarks/step.py); if another machine trains, plan there')


@functools.cache
def _instructions() -> frozenset[str]:
    """The CPU's flags; empty where the system does not tell."""
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines() if platform.system() == 'Linux' \
            else []
    except OSError:
        return frozenset()
    return frozenset(word for line in lines if line.startswith(('flags', 'Features'))
                     for word in line.partition(':')[2].split())
