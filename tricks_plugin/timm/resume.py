"""Going on from a checkpoint: what is taken from it, and what the command line changes."""

from __future__ import annotations

import argparse
import copy
import dataclasses
import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from timm.task import load_task_ema_checkpoint, resume_task_checkpoint

from ..plan.errors import TrickError
from .boundary import naming, one_line
from .flags import FLAGS
from .model import SAFE

__all__ = ['Former', 'Resumed', 'compare', 'former_run', 'inherit', 'keep_asked', 'restore',
           'restore_average']

_logger = logging.getLogger('tricks_plugin')
_RESUMABLE = tuple(name for name, row in FLAGS.items() if row.role == 'training')
# Where one of these is given, none of them comes from the checkpoint.
_EITHER = (('lr', 'lr_base', 'lr_base_size', 'lr_base_scale'), ('img_size', 'input_size'))
_ASKED = 'asked'  # the settings before the tricks, in those that a checkpoint keeps
# Settings by the name that the optimizer's parameter groups have for them.
_IN_GROUPS = {'lr': 'lr', 'weight_decay': 'weight_decay', 'momentum': 'momentum',
              'opt_betas': 'betas', 'opt_eps': 'eps'}


@dataclasses.dataclass(frozen=True)
class Former:
    """The training that a checkpoint comes from.

    Attributes:
        path: The checkpoint.
        epoch: The epoch that it ends, counted from 0; None where it does not say.
        settings: What that training used; of a checkpoint without settings, what its optimizer
            holds.
        asked: The same before its tricks, and the LR as it was given.
        given: The names of the settings that its user set.
    """

    path: str
    epoch: int | None
    settings: dict[str, Any]
    asked: dict[str, Any]
    given: frozenset[str]


@dataclasses.dataclass(frozen=True)
class Resumed:
    """How a training goes on from a checkpoint.

    Attributes:
        path: The checkpoint.
        taken: Settings that come from it, as nothing else was asked for.
        changed: Settings that differ from its own: before and now.
    """

    path: str
    taken: dict[str, Any]
    changed: dict[str, tuple[Any, Any]]


def former_run(path: str) -> Former:
    """Reads what a checkpoint says of its training; its weights are not read.

    Args:
        path: The checkpoint of ``--resume``.

    Raises:
        TrickError: If the file is not there, damaged, or no checkpoint of a training.
    """
    if not Path(path).is_file():
        raise TrickError(f'--resume must be a file that is there, got {path!r}')
    with naming(f'--resume {path}'):
        state = _read(path)
    if not isinstance(state, Mapping) or not ('state_dict' in state or 'model' in state):
        raise TrickError(f'--resume {path}: the file is no checkpoint of a training, which has '
                         'state_dict; --initial-checkpoint starts from weights alone')
    own = state.get('args')
    settings = dict(vars(own)) if isinstance(own, argparse.Namespace) else {}
    asked = settings.pop(_ASKED, None) or {}
    if not settings:
        settings = _from_groups(state.get('optimizer'))
    epoch = state.get('epoch')
    return Former(path, epoch if isinstance(epoch, int) else None, settings,
                  asked.get('settings', settings), frozenset(asked.get('given', settings)))


def _read(path: str) -> Any:
    """A checkpoint with its tensors mapped from the file, where its format allows it."""
    from timm.utils.checkpoint_saver import load_checkpoint_metadata
    if not SAFE:
        return torch.load(path, map_location='cpu', weights_only=False)
    try:
        return load_checkpoint_metadata(path)
    except RuntimeError as error:
        if 'mmap can only be used' not in str(error):
            raise
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location='cpu', weights_only=True)


def _from_groups(optimizer: Any) -> dict[str, Any]:
    """The settings that an optimizer's saved parameter groups show."""
    groups = optimizer.get('param_groups', []) if isinstance(optimizer, Mapping) else []
    found: dict[str, Any] = {}
    for name, key in _IN_GROUPS.items():
        values = [group.get(f'initial_{key}', group.get(key)) for group in groups]
        values = [value for value in values if value is not None]
        if values:
            found[name] = max(values)
    return found


def inherit(
    args: argparse.Namespace, given: Collection[str], former: Former,
) -> tuple[argparse.Namespace, frozenset[str], dict[str, Any]]:
    """The settings of a resumed training, before its tricks.

    What this command line gives stands; what it does not give and what decides on the training is
    that of the checkpoint. With ``--tricks`` this is what the former user asked for, as the tricks
    set theirs again; without, it is what the former training used, its tricks included. With
    ``--no-resume-opt`` nothing is taken but the weights and the epoch.

    Args:
        args: This command line's settings; not changed.
        given: The names of those that the user set.
        former: The checkpoint's training.

    Returns:
        ``(settings, given, taken)``: ``given`` with the former user's own settings, ``taken``
        with those of the checkpoint that differ from this command line's.

    Raises:
        TrickError: If another optimizer is asked for.
    """
    if args.no_resume_opt:
        return args, frozenset(given), {}
    own = former.settings.get('opt')
    if 'opt' in given and own is not None and args.opt.lower() != own.lower():
        raise TrickError(f'--opt must be {own} as in --resume {former.path}, whose state another '
                         f'optimizer cannot use, got {args.opt!r}; --no-resume-opt starts anew')
    source = former.settings if args.tricks is None else former.asked
    shut = {name for names in _EITHER if set(names) & set(given) for name in names}
    taken = {name: copy.deepcopy(source[name]) for name in _RESUMABLE
             if name in source and name not in given and name not in shut
             and not _equal(source[name], getattr(args, name))}
    theirs = former.given & set(_RESUMABLE) if args.tricks is not None else frozenset()
    return (argparse.Namespace(**{**vars(args), **taken}), frozenset(given) | (theirs - shut),
            taken)


def keep_asked(
    args: argparse.Namespace, asked: argparse.Namespace, given: Collection[str],
) -> argparse.Namespace:
    """The settings as a checkpoint keeps them: with those before the tricks beside them."""
    before = {'settings': dict(vars(asked)), 'given': sorted(given)}
    return argparse.Namespace(**{**vars(args), _ASKED: before})


def compare(args: argparse.Namespace, former: Former, taken: Mapping[str, Any]) -> Resumed:
    """What a resumed training takes and changes; logs a line for each on the first process.

    Args:
        args: The completed settings.
        former: The checkpoint's training.
        taken: As `inherit` returned it.
    """
    now = {name: getattr(args, name) for name in _RESUMABLE}
    changed = {name: (former.settings[name], now[name]) for name in _RESUMABLE
               if name in former.settings and not _equal(former.settings[name], now[name])}
    kept = {name: now[name] for name in taken if name not in changed}
    if args.rank == 0:
        for name, value in kept.items():
            _logger.info('resume: %s %s taken from the checkpoint', name, _word(value))
        for name, (before, value) in changed.items():
            _logger.info('resume: changed now: %s %s -> %s', name, _word(before), _word(value))
        if 'lr' not in changed and _batch(former.settings) not in (None, _batch(vars(args))):
            _logger.warning('resume: the images per update change and the lr stays: give --lr, or '
                            '--lr-base to have it scaled')
    return Resumed(former.path, kept, changed)


def _batch(settings: Mapping[str, Any]) -> int | None:
    """Images per update, without random sizes."""
    parts = [settings.get(name) for name in ('batch_size', 'world_size', 'grad_accum_steps')]
    return None if None in parts else int(parts[0] * parts[1] * parts[2])  # type: ignore[operator]


def _word(value: Any) -> str:
    return f'{value:g}' if isinstance(value, float) else str(value) or 'unset'


def _equal(left: Any, right: Any) -> bool:
    """Equality that takes a list and a tuple as the same."""
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return list(left) == list(right)
    return bool(left == right)


def restore(task: Any, args: argparse.Namespace, optimizer: Any, scaler: Any) -> int | None:
    """Loads weights, optimizer and loss scaler; LR, decay and the like stay those of the settings.

    Args:
        task: timm's task; changed in place.
        args: The completed settings.
        optimizer: Built from these settings; gets the checkpoint's state.
        scaler: timm's loss scaler, or None.

    Returns:
        The epoch to go on with, counted from 0; None where the checkpoint does not say.

    Raises:
        TrickError: If the checkpoint belongs to another model or optimizer.
    """
    flag = f'--resume {args.resume}'
    wanted = [{key: value for key, value in group.items() if key != 'params'}
              for group in optimizer.param_groups]
    with naming(flag):
        state = _read(args.resume)
    if not args.no_resume_opt:
        _check_groups(flag, optimizer, state.get('optimizer'))
    del state
    try:
        epoch = resume_task_checkpoint(
            task, args.resume, optimizer=None if args.no_resume_opt else optimizer,
            loss_scaler=None if args.no_resume_opt else scaler, log_info=args.rank == 0,
            weights_only=SAFE)
    except Exception as error:  # foreign and damaged files raise whatever they like
        raise TrickError(f'{flag} does not belong to --model {args.model} with '
                         f'{args.num_classes} classes: {one_line(error)}') from error
    keys = {*_IN_GROUPS.values(), *args.opt_kwargs, 'lr_scale'}
    for group, settings in zip(optimizer.param_groups, wanted, strict=True):
        group.update({key: value for key, value in settings.items() if key in keys})
        group.pop('initial_lr', None)  # the schedule takes the LR of the settings
    return epoch


def _check_groups(flag: str, optimizer: Any, saved: Any) -> None:
    """Raises TrickError where a saved optimizer is of another kind, or groups in another way."""
    groups = saved.get('param_groups') if isinstance(saved, Mapping) else None
    if not groups:
        _logger.warning('%s holds no state of an optimizer, which starts anew', flag)
        return
    mine = [len(group['params']) for group in optimizer.param_groups]
    theirs = [len(group['params']) for group in groups]
    kinds = [{key for key in group if key not in ('params', 'initial_lr', 'lr_scale')}
             for group in (optimizer.param_groups[0], groups[0])]
    if kinds[0] - kinds[1]:
        raise TrickError(f'{flag} holds the state of another optimizer than --opt '
                         f'{type(optimizer).__name__}: it lacks {sorted(kinds[0] - kinds[1])}; '
                         '--no-resume-opt starts the optimizer anew')
    if mine != theirs:
        raise TrickError(
            f'{flag} has parameter groups of {theirs} parameters and this training of {mine}: '
            'another model, or --weight-decay to or from 0, --layer-decay or --opt-kwargs are '
            'changed, which cannot be on resume; --no-resume-opt starts the optimizer anew')


def restore_average(task: Any, args: argparse.Namespace) -> None:
    """Loads the average of the weights; the weights themselves where there is none.

    Args:
        task: timm's task, with an average; changed in place.
        args: The completed settings.
    """
    with naming(f'--resume {args.resume}'):
        load_task_ema_checkpoint(task, args.resume, weights_only=SAFE)
