"""The teacher of a timm training: whether timm knows it, and whether its weights are its own."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..plan.errors import TrickError, did_you_mean
from .boundary import naming
from .model import SAFE

__all__ = ['FLAGS', 'check_teacher', 'load_weights']

FLAGS = ('--kd-model-name', '--kd-checkpoint')
_NUMPY = ('.npz', '.npy')  # each architecture reads these in its own way, and with real memory


def check_teacher(name: str, checkpoint: str | None, student: Mapping[str, Any],
                  flags: tuple[str, str] = FLAGS) -> None:
    """Refuses a teacher that timm does not know, that would know nothing, or that cannot be loaded.

    Args:
        name: Of the model.
        checkpoint: A file with its weights, or None for timm's published ones.
        student: timm's settings with their facts: ``num_classes`` and ``input_size``; what is None
            there is not compared.
        flags: What the user calls name and checkpoint.

    Raises:
        TrickError: Of an unknown name, a file that is not there or does not fit the teacher with
            the student's classes, and published weights of none or of other classes, whose
            classifier timm would replace by an untrained one.
    """
    import timm
    base, classes = name.split('.')[0], student.get('num_classes')
    if not timm.is_model(base):
        raise TrickError(f'{flags[0]} must be a model that timm knows, got {name!r}'
                         f'{did_you_mean(base.lower(), timm.list_models())}')
    if checkpoint:
        if not Path(checkpoint).is_file():
            raise TrickError(f'{flags[1]} must be a file that is there, got {checkpoint!r}')
        size = student.get('input_size')
        if classes is not None and size and Path(checkpoint).suffix.lower() not in _NUMPY:
            load_weights(_without_memory(name, classes, size[0], flags), name, checkpoint, flags)
        return
    published = timm.models.get_pretrained_cfg(name)
    if published is None or not published.has_weights:
        raise TrickError(f'{flags[1]} must name the weights of {flags[0]} {name}, for which timm '
                         f'has none, got {checkpoint!r}')
    if classes is not None and published.num_classes != classes:
        raise TrickError(f'{flags[1]} must name weights for {classes} classes, as timm has '
                         f'{flags[0]} {name} for {published.num_classes}, got {checkpoint!r}')


def load_weights(model: nn.Module, name: str, checkpoint: str,
                 flags: tuple[str, str] = FLAGS) -> None:
    """Loads a teacher's weights, all of them.

    Args:
        model: Changed in place; one on the meta device is only compared.
        name: Of the model.
        checkpoint: A file.
        flags: What the user calls name and checkpoint.

    Raises:
        TrickError: If the file is damaged, keys are missing or left over, or shapes differ.
    """
    from timm.models import load_checkpoint
    with naming(f'{flags[1]} {checkpoint} with {flags[0]} {name}'), warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='.*copying from a non-meta parameter')
        load_checkpoint(model, checkpoint, strict=True, weights_only=SAFE)


def _without_memory(name: str, classes: int, channels: int, flags: tuple[str, str]) -> nn.Module:
    """The teacher on the meta device; for real where it computes while it is built."""
    import timm
    options = dict(num_classes=classes, in_chans=channels)
    try:
        with torch.device('meta'):
            return timm.create_model(name, **options)
    except Exception:
        with naming(f'{flags[0]} {name}'):
            return timm.create_model(name, **options)
