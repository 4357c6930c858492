"""Building the model of a timm training, and loading weights into it."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from timm import utils
from timm.layers import convert_splitbn_model, set_fast_norm
from timm.models import create_model, load_checkpoint, load_state_dict, safe_model_name
from torch import nn

from ..common.sync_bn import synchronize_batch_norms
from ..plan.errors import TrickError
from .boundary import naming
from .facts import model_arguments

__all__ = ['build_model', 'place']

_logger = logging.getLogger('tricks_plugin')
# Where torch knows no safe list of classes (before 2.4), it refuses the settings that timm keeps
# in its checkpoints.
SAFE = hasattr(torch.serialization, 'safe_globals')


def build_model(args: argparse.Namespace) -> Any:
    """Timm's model with the weights that the flags ask for, on the CPU.

    Args:
        args: timm's settings.

    Raises:
        TrickError: If timm cannot build the model, or a file of weights is damaged or does not
            belong to it.
    """
    if args.fuser:
        with naming(f'--fuser {args.fuser}'):
            utils.set_jit_fuser(args.fuser)
    if args.fast_norm:
        set_fast_norm()
    model = _create(args)
    if args.initial_checkpoint:
        with naming(f'--initial-checkpoint {args.initial_checkpoint}'):
            load_checkpoint(model, args.initial_checkpoint, weights_only=SAFE)
    _start_head(model, args)
    if args.grad_checkpointing:
        with naming(f'--grad-checkpointing with --model {args.model}'):
            model.set_grad_checkpointing(enable=True)
    if args.rank == 0:
        _logger.info('%s: %d parameters', safe_model_name(args.model),
                     sum(parameter.numel() for parameter in model.parameters()))
    return model


def _create(args: argparse.Namespace) -> Any:
    options: dict[str, Any] = {}
    flag = f'--model {args.model} with --model-kwargs {args.model_kwargs}'
    weights: Mapping[str, Any] = {}
    if args.pretrained:
        flag = f'--pretrained with --model {args.model}'
    if args.pretrained_path:
        flag = f'--pretrained-path {args.pretrained_path}'
        # -1 has timm fit the head to this run's number of classes.
        options['pretrained_cfg_overlay'] = dict(file=args.pretrained_path, num_classes=-1)
        if args.pretrained and Path(args.pretrained_path).suffix not in ('.npz', '.npy'):
            with naming(flag):
                weights = load_state_dict(args.pretrained_path, weights_only=SAFE)
                _check_weights(weights)
    with naming(flag):
        model = create_model(**model_arguments(args), pretrained=args.pretrained, **options,
                             **args.model_kwargs)
    if weights:
        _check_arrival(model, weights, flag)
    return model


def _check_weights(weights: Any) -> None:
    """Raises ValueError for a file that holds something else than tensors by name."""
    if not isinstance(weights, Mapping) or not any(
            isinstance(value, torch.Tensor) for value in weights.values()):
        raise ValueError('the file holds no weights')


def _check_arrival(model: nn.Module, weights: Mapping[str, Any], flag: str) -> None:
    """Counts the parameters that hold a tensor of the file.

    timm fits a file to the model without asking that names agree, so that a checkpoint of another
    architecture would leave the model as it was, in silence.
    """
    def mark(value: torch.Tensor) -> tuple[Any, ...]:
        return tuple(value.shape), float(value.detach().double().sum())

    known = {mark(value) for value in weights.values()
             if isinstance(value, torch.Tensor) and value.is_floating_point()}
    parameters = list(model.parameters())
    # Tensors of zeros and ones would agree in any model.
    constant = [bool((value == value.flatten()[0]).all()) for value in parameters]
    found = sum(mark(value) in known for value, same in zip(parameters, constant, strict=True)
                if not same)
    if not found:
        raise TrickError(f'{flag}: not one of the {len(parameters)} parameters of the model comes '
                         'from this file, which belongs to another architecture')
    if found < len(parameters) - sum(constant) - 2:
        _logger.warning('%s: %d of the %d parameters come from the file; the others start anew',
                        flag, found, len(parameters))


def _start_head(model: Any, args: argparse.Namespace) -> None:
    """The classifier's first weights."""
    for flag, value in (('--head-init-scale', args.head_init_scale),
                        ('--head-init-bias', args.head_init_bias)):
        if value is None:
            continue
        with naming(f'{flag} {value} with --model {args.model}'), torch.no_grad():
            head = model.get_classifier()
            if flag == '--head-init-bias':
                nn.init.constant_(head.bias, value)
            else:
                head.weight.mul_(value)
                head.bias.mul_(value)


def place(model: Any, args: argparse.Namespace, device: torch.device, dtype: torch.dtype) -> Any:
    """Moves the model to its device, and converts its norms.

    Args:
        model: As `build_model` returned it; converted in place.
        args: timm's settings.
        device: Where to train.
        dtype: Of the weights.
    """
    if args.split_bn:
        with naming(f'--split-bn with --model {args.model}'):
            model = convert_splitbn_model(model, max(args.aug_splits, 2))
    model.to(device=device, dtype=dtype)
    if args.channels_last:
        model.to(memory_format=torch.channels_last)
    if args.distributed and args.sync_bn:
        found = synchronize_batch_norms(model.train())
        if args.rank == 0:
            _logger.info('sync_bn: %s', found)
    if not args.torchscript:
        return model
    with naming(f'--torchscript with --model {args.model}'):
        return torch.jit.script(model)
