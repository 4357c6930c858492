"""What a resumed run's checkpoint has put in the place of the config's settings."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.optim import OptimWrapper

from ..evidence import base_lr
from ..plan import TrickError
from .config_edit import optim_wrappers, plain
from .optimizers import optimizers_of
from .schedules import own_scaling, scheduler_lists
from .training import RunnerTraining

__all__ = ['check_resumable', 'overruled']

# What makes one optimizer's state another's; torch's switches for speed do not.
_OWN = {'alpha', 'betas', 'etas', 'lr_decay', 'lambd', 'momentum', 'momentum_decay', 'rho'}
_PROGRESS = ('last_step', '_global_step', 'base_values', 'verbose')


def check_resumable(runner: Any, checkpoint: dict[str, Any]) -> None:
    """Refuses a checkpoint whose optimizers' states do not fit those of the run.

    Args:
        runner: mmengine's runner, about to take the state over.
        checkpoint: What it has loaded.

    Raises:
        TrickError: If the checkpoint is of another optimizer, or has other parameter groups.
    """
    saved = checkpoint.get('optimizer')
    wrapper = getattr(runner, 'optim_wrapper', None)
    if not getattr(runner, '_resume', False) or not isinstance(saved, dict) \
            or not isinstance(wrapper, OptimWrapper):
        return
    for name, optimizer in optimizers_of(wrapper).items():
        groups = (saved.get(name, {}) if name else saved).get('param_groups')
        where = f'optim_wrapper.{name}.optimizer' if name else 'optim_wrapper.optimizer'
        if not groups:
            continue
        lacks = sorted((_OWN & getattr(optimizer, 'defaults', {}).keys()) - groups[0].keys())
        if lacks:
            raise TrickError(
                f'resume: the checkpoint holds the state of another optimizer than {where}, a '
                f'{type(optimizer).__name__}: it has no {", ".join(lacks)}; train from its weights '
                'with load_from')
        sizes = [[len(group['params']) for group in one]
                 for one in (groups, optimizer.param_groups)]
        if sizes[0] != sizes[1]:
            raise TrickError(
                f'resume: the checkpoint holds {len(sizes[0])} parameter groups of '
                f'{sum(sizes[0])} parameters for {where}, and this config makes {len(sizes[1])} of '
                f'{sum(sizes[1])} (the model, paramwise_cfg or no_bias_decay have changed); train '
                'from its weights with load_from')


def overruled(runner: Any) -> list[str]:
    """The settings of optimizers and schedules that the run does not have from its config.

    mmengine loads both whole from the checkpoint, so what was changed in the config since is
    without effect.

    Args:
        runner: mmengine's runner, resumed.

    Returns:
        One clause per setting: where it stands, what the config asks for, what the run holds.
    """
    cfg = plain(runner.cfg)
    return [*_optimizers(RunnerTraining(runner), cfg), *_schedulers(runner, cfg)]


def _optimizers(training: RunnerTraining, cfg: dict[str, Any]) -> list[str]:
    words = []
    for path, wrapper in optim_wrappers(cfg):
        name = path.partition('.')[2]
        if name not in training.optimizers:
            continue
        groups = training.optimizers[name].param_groups
        for key, asked in wrapper['optimizer'].items():
            if key == 'lr':
                one_cycle = any('max_lr' in group for group in groups)
                asked = training.asked_lr.get(name, asked) * (1 if one_cycle else own_scaling(cfg))
                held = [base_lr(group) for group in groups]
            else:
                held = [group[key] for group in groups if key in group]
            if held and not any(_same(asked, one) for one in held):
                words.append(f'{path}.optimizer.{key} {_short([asked])} asked for, '
                             f'{_short(held)} held')
    return words


def _schedulers(runner: Any, cfg: dict[str, Any]) -> list[str]:
    lists = scheduler_lists(cfg.get('param_scheduler'))
    if not lists or not hasattr(runner, '_build_param_scheduler'):
        return []
    built = runner.param_schedulers
    built = built if isinstance(built, dict) else {'': built or []}
    words = []
    for name, schedulers in built.items():
        nodes = lists.get(name, lists.get('', []))
        optimizers = RunnerTraining(runner).optimizers
        groups = (optimizers.get(name) or next(iter(optimizers.values()))).param_groups
        root = f'param_scheduler.{name}' if name in lists and name else 'param_scheduler'
        for index, (node, one) in enumerate(zip(nodes, schedulers, strict=False)):
            try:
                fresh = runner._build_param_scheduler(dict(node), _idle(groups))[0].state_dict()
            except Exception:  # another package's may need more than its settings
                continue
            held = one.state_dict()
            words += [f'{root}[{index}].{key.lstrip("_")} {_short([fresh[key]])} asked for, '
                      f'{_short([held[key]])} held' for key in fresh
                      if key in held and key not in _PROGRESS and not key.startswith('_')
                      and not _same(fresh[key], held[key])]
    return words


def _idle(groups: list[dict[str, Any]]) -> OptimWrapper:
    """An optimizer that trains nothing, for a scheduler that is built to be looked at.

    It has the LRs of the run's groups, since a schedule may refuse others.
    """
    idle = [{'params': [torch.nn.Parameter(torch.zeros(1))], 'lr': base_lr(group)}
            for group in groups]
    return OptimWrapper(torch.optim.SGD(idle, lr=1.0))


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, (int, float)) and isinstance(right, (int, float)):
        return abs(left - right) <= 1e-9 * max(abs(left), abs(right))
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(map(_same, left, right))
    return bool(left == right) or callable(left)


def _short(values: list[Any]) -> str:
    shown = list(dict.fromkeys(
        f'{value:g}' if isinstance(value, float) else
        ', '.join(map(str, sorted(value))) if hasattr(value, 'elements') else str(value)
        for value in values))
    return '/'.join(shown[:3]) + ('/...' if len(shown) > 3 else '')
