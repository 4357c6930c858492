"""The teacher: its config, its weights, and what they must have in common with the student's."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...mm.config_edit import default_scope, plain
from ...mm.config_file import load_config, one_line
from ...plan import TrickError

__all__ = ['PATH', 'build', 'check_file', 'fit', 'model_of', 'read_config', 'read_weights']

PATH = 'tricks.distill'
_SHOWN = 4  # keys that an error names
# Counts and constants that mmengine makes anew, or that hold what a config says.
_OWN = ('data_preprocessor.',)


def read_config(teacher: str) -> dict[str, Any]:
    """The teacher's config as plain values.

    Args:
        teacher: A file, or ``package::path`` of an installed OpenMMLab package's zoo.

    Raises:
        TrickError: If it cannot be read, or holds no model.
    """
    try:
        cfg: dict[str, Any] = plain(load_config(teacher, None, None))
    except TrickError as error:
        raise TrickError(f'{PATH}.teacher must be a config that can be read: {error}') from error
    if not isinstance(cfg.get('model'), dict):
        raise TrickError(f'{PATH}.teacher must be a config with a model, got {teacher!r}')
    return cfg


def model_of(cfg: dict[str, Any]) -> dict[str, Any]:
    """The model section of a config as the runner builds it, without weights to start from."""
    model = {key: value for key, value in cfg['model'].items()
             if key not in ('init_cfg', 'pretrained')}
    if isinstance(cfg.get('data_preprocessor'), dict):
        model.setdefault('data_preprocessor', cfg['data_preprocessor'])
    return _without_weights(model)


def _without_weights(node: Any) -> Any:
    """Without what would load weights that the checkpoint replaces."""
    if isinstance(node, dict):
        held = node.get('init_cfg')
        loads = isinstance(held, dict) and held.get('type', '').endswith('Pretrained')
        found = {key: _without_weights(value) for key, value in node.items()
                 if not (key == 'init_cfg' and loads)}
        if found.get('pretrained'):
            found['pretrained'] = None if isinstance(found['pretrained'], str) else False
        return found
    return [_without_weights(item) for item in node] if isinstance(node, list) else node


def build(cfg: dict[str, Any], name: str) -> nn.Module:
    """The teacher's model on the CPU, untrained.

    Args:
        cfg: As `read_config` returned it.
        name: As the user wrote it, for the error.

    Raises:
        TrickError: If it cannot be built.
    """
    from mmengine.config import ConfigDict
    from mmengine.registry import MODELS, DefaultScope
    try:
        with DefaultScope.overwrite_default_scope(default_scope(cfg)), quiet():
            return MODELS.build(ConfigDict(model_of(cfg)))
    except Exception as error:  # constructors raise what they like
        raise TrickError(f'{PATH}.teacher must be a model that can be built here, got {name!r}: '
                         f'{one_line(error)}') from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Leaves out what constructors and loaders print and warn of."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield


def check_file(checkpoint: str | None) -> bool:
    """Whether a checkpoint is a file of this machine, and not one to be fetched.

    Raises:
        TrickError: If none is named, or the file is not there.
    """
    if not checkpoint:
        raise TrickError(f"{PATH}.checkpoint must name the teacher's weights, got {checkpoint!r}")
    if '://' in checkpoint:
        return False
    if not Path(checkpoint).is_file():
        raise TrickError(f'{PATH}.checkpoint must be a file that is there, got {checkpoint!r}')
    return True


def read_weights(checkpoint: str) -> dict[str, torch.Tensor]:
    """The weights of a checkpoint, on the CPU.

    Raises:
        TrickError: If it cannot be read, or holds none.
    """
    from mmengine.runner.checkpoint import _load_checkpoint
    try:
        with quiet():
            state = _load_checkpoint(checkpoint, map_location='cpu')
    except Exception as error:  # damaged files raise what they like
        raise TrickError(f'{PATH}.checkpoint must be a checkpoint that can be read, got '
                         f'{checkpoint!r}: {one_line(error)}') from error
    state = state.get('state_dict', state) if isinstance(state, dict) else {}
    weights = {str(key).removeprefix('module.'): value for key, value in state.items()
               if isinstance(value, torch.Tensor)}
    if not weights:
        raise TrickError(f'{PATH}.checkpoint must hold weights, got {checkpoint!r}')
    return weights


def fit(model: nn.Module, weights: dict[str, torch.Tensor], checkpoint: str) -> None:
    """Loads weights into a model, all of them.

    Args:
        model: Changed in place; one on the meta device is only compared.
        weights: As `read_weights` returned them.
        checkpoint: Where they are from, for the error.

    Raises:
        TrickError: If keys are missing or left over, or shapes differ; names some of them.
    """
    own = model.state_dict()
    wrong = [f'{key} is {tuple(value.shape)} and not {tuple(own[key].shape)}'
             for key, value in weights.items() if key in own and value.shape != own[key].shape]
    parts = [_some('shapes', wrong)]
    if not wrong:
        with quiet():
            result = model.load_state_dict(weights, strict=False)
        parts = [_some(what, [key for key in keys if not key.startswith(_OWN)])
                 for what, keys in (('missing', result.missing_keys),
                                    ('left over', result.unexpected_keys))]
    if any(parts):
        raise TrickError(f'{PATH}.checkpoint must fit tricks.distill.teacher, got {checkpoint!r}: '
                         f'{"; ".join(filter(None, parts))}')


def _some(what: str, keys: list[str]) -> str:
    if not keys:
        return ''
    more = f' and {len(keys) - _SHOWN} more' if len(keys) > _SHOWN else ''
    return f'{what}: {", ".join(keys[:_SHOWN])}{more}'
