"""Scales a config's learning rate to its effective batch."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

from ...common.processes import world_size
from ...mm.config_edit import default_scope, get, is_a, optim_wrappers, type_name
from ...plan import TRICKS, Params, Trick, Verdict, bounded
from .functional import effective_batch_size, linear_scaled_lr

__all__ = ['LinearScaling']

_SQUARE_ROOT = ('ada', 'lamb')  # the optimizers that timm scales so by default
_ABSOLUTE = ('eta_min', 'eta_max', 'min_value')


@dataclasses.dataclass(frozen=True)
class _Batch:
    """What makes up the effective batch."""

    images: int
    processes: int
    accumulation: int

    @property
    def effective(self) -> int:
        return effective_batch_size(self.images, self.processes, self.accumulation)

    def __str__(self) -> str:
        images = 'image' if self.images == 1 else 'images'
        processes = 'process' if self.processes == 1 else 'processes'
        return (f'{self.images} {images} x {self.processes} {processes} x '
                f'{self.accumulation} accumulation')


@dataclasses.dataclass(frozen=True)
class LinearLRParams(Params):
    """Parameters of the scaling."""

    base_batch_size: int | None = bounded(
        None, "images per update that the config's LR was chosen for; None takes "
        'auto_scale_lr.base_batch_size', gt=0)


@TRICKS.register
class LinearScaling(Trick):
    """LR in proportion to the effective batch, gradient accumulation included."""

    name = 'linear_lr'
    title = 'learning rate in proportion to the effective batch'
    paper = 'Goyal et al. (arXiv 1706.02677) section 2.1; BoT (arXiv 1812.01187) section 3.1'
    order = 10
    evidence = 'tricks_plugin.tricks.linear_lr.evidence:BatchEvidence'
    timm_derives = ('lr', 'lr_base')

    Params = LinearLRParams

    def apply(self, cfg: dict[str, Any]) -> Verdict:
        """Scales every optimizer's LR, and the absolute LRs of the schedule with it."""
        wrappers = optim_wrappers(cfg)
        if not wrappers:
            return Verdict.not_applicable('the config has no optimizer whose LR could be scaled')
        batch = _batch(cfg, wrappers)
        if isinstance(batch, str):
            return Verdict.not_applicable(batch)
        unset = [path for path, wrapper in wrappers if not _is_lr(wrapper['optimizer'].get('lr'))]
        if unset:
            return Verdict.not_applicable(f'{unset[0]}.optimizer sets no lr that could be scaled')
        recorded = get(cfg, 'tricks_applied.linear_lr.effective_batch_size')
        declared = get(cfg, 'auto_scale_lr.base_batch_size')
        base = next((value for value in (recorded, self.params.base_batch_size, declared)
                     if _is_count(value)), None)
        if base is None:
            return Verdict.not_applicable(
                'the config does not say which batch size its LR was chosen for: set '
                'tricks.linear_lr.base_batch_size')
        enabled = bool(get(cfg, 'auto_scale_lr.enable', False))
        if enabled and batch.accumulation == 1 and base == declared and not _is_count(recorded):
            return Verdict.present(f'auto_scale_lr is enabled: mmengine scales the LR by '
                                   f'{batch.effective}/{base} itself')
        if batch.effective == base and not enabled:
            return Verdict.present(f'the effective batch of {base} ({batch}) is the base batch')
        return self._scale(cfg, wrappers, batch, base, enabled)

    def _scale(
        self, cfg: dict[str, Any], wrappers: list[tuple[str, dict[str, Any]]], batch: _Batch,
        base: int, enabled: bool,
    ) -> Verdict:
        """Edits the config, and words the verdict."""
        effective = batch.effective
        words, planned = [], {}
        for path, wrapper in wrappers:
            optimizer = wrapper['optimizer']
            before = optimizer['lr']
            planned[path] = optimizer['lr'] = linear_scaled_lr(before, effective, base)
            words.append(f'{before:g} x {effective}/{base} = {optimizer["lr"]:g}')
            _scale_keys(get(wrapper, 'paramwise_cfg.custom_keys'), ('lr',), effective / base)
        _scale_keys(_lr_schedulers(cfg), _ABSOLUTE, effective / base)
        if enabled:
            cfg['auto_scale_lr'] = {**cfg['auto_scale_lr'], 'enable': False}
            words.append('auto_scale_lr is switched off, so that mmengine does not scale it again')
        first = get(cfg, 'tricks_applied.linear_lr.base_batch_size')
        if not isinstance(cfg.get('tricks_applied'), dict):
            cfg['tricks_applied'] = {}
        cfg['tricks_applied']['linear_lr'] = {
            'effective_batch_size': effective, 'base_batch_size': base if first is None else first}
        reason = f'lr {", ".join(words)} ({batch})'
        scope = default_scope(cfg)
        others = sorted({type_name(wrapper['optimizer']) for _, wrapper in wrappers
                         if not is_a(wrapper['optimizer'], 'SGD', scope=scope)})
        if others and effective != base:
            reason += f'; the rule was derived for SGD, not for {", ".join(others)}'
        return Verdict.applied(reason, effective_batch_size=effective, lr=planned)

    def timm_args(
        self, args: dict[str, Any], given: Collection[str] = frozenset(),
    ) -> dict[str, Any] | str | None:
        """Has timm derive the LR from its base batch linearly, as it does for SGD by default.

        An ``lr`` of the user's is absolute and stays, unless ``base_batch_size`` says which batch
        it was chosen for.
        """
        base = self.params.base_batch_size
        if args.get('lr') and base is None:
            return {'lr': args['lr']}
        opt = str(args.get('opt') or 'sgd').lower()
        linear = not args.get('lr_base_scale') and not any(name in opt for name in _SQUARE_ROOT)
        settings: dict[str, Any] = {} if linear else {'lr_base_scale': 'linear'}
        if base is not None:
            settings['lr_base_size'] = base
        if args.get('lr'):
            settings.update(lr=None, lr_base=args['lr'])
        return settings

    def timm_note(self, before: dict[str, Any], after: dict[str, Any]) -> str:
        """Shows the arithmetic, or that the LR is the user's own."""
        if after.get('lr'):
            return f'--lr {after["lr"]:g} is yours and stands; linear_lr.base_batch_size, the ' \
                'batch it was chosen for, would scale it'
        opt = str(after.get('opt') or 'sgd').lower()
        if after.get('lr_base_scale') == 'sqrt' or after.get('train_batch_sizes'):
            return ''
        batch = _Batch(after['batch_size'], world_size('any'), max(1, after['grad_accum_steps']))
        base, size = after['lr_base'], after['lr_base_size']
        note = f'lr {base:g} x {batch.effective}/{size} = ' \
            f'{linear_scaled_lr(base, batch.effective, size):g} ({batch})'
        return note if 'sgd' in opt or opt in ('momentum', 'nesterov') else \
            f'{note}; the rule was derived for SGD, not for {opt}'


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_lr(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0


def _batch(cfg: dict[str, Any], wrappers: list[tuple[str, dict[str, Any]]]) -> _Batch | str:
    """The effective batch, or why there is no one answer."""
    images = get(cfg, 'train_dataloader.batch_size')
    if not _is_count(images):
        return 'train_dataloader.batch_size is not given as a number'
    counts = {path: wrapper.get('accumulative_counts', 1) for path, wrapper in wrappers}
    wrong = next((path for path, count in counts.items() if not _is_count(count)), None)
    if wrong is not None:
        return f'{wrong}.accumulative_counts is not a number of iterations'
    if len(set(counts.values())) > 1:
        listed = ', '.join(f'{path} {count}' for path, count in counts.items())
        return f'the optimizers accumulate over different numbers of iterations ({listed})'
    return _Batch(images, world_size(cfg.get('launcher')), next(iter(counts.values())))


def _values(node: Any) -> list[Any]:
    """The values of a dict or the items of a list; nothing of anything else."""
    return list(node.values()) if isinstance(node, dict) else \
        list(node) if isinstance(node, (list, tuple)) else []


def _scale_keys(node: Any, keys: tuple[str, ...], factor: float) -> None:
    """Scales absolute LRs among the values of a dict or list of dicts."""
    for item in _values(node):
        for key in keys:
            if isinstance(item, dict) and _is_lr(item.get(key)) and item[key] > 0:
                item[key] *= factor


def _lr_schedulers(cfg: dict[str, Any]) -> list[dict[str, Any]]:
    """Every LR scheduler whose absolute LRs move along, whatever form ``param_scheduler`` has.

    Not WarmupCosineLR, whose ``eta_min`` is the user's own parameter.
    """
    node, scope = cfg.get('param_scheduler'), default_scope(cfg)
    items = [node] if isinstance(node, dict) and 'type' in node else _values(node)
    flat = [inner for item in items for inner in (item if isinstance(item, list) else [item])]
    return [item for item in flat if isinstance(item, dict) and 'type' in item and (
        item.get('param_name') == 'lr' or type_name(item).endswith('LR')
        or is_a(item, 'LRSchedulerMixin', scope=scope))
        and type_name(item) != 'WarmupCosineLR']
