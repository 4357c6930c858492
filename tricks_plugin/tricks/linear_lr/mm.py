"""The config edit that scales the learning rate."""

from __future__ import annotations

import dataclasses
from typing import Any

from ...common.processes import world_size
from ...mm.config_edit import default_scope, get, is_a, optim_wrappers, type_name
from ...mm.schedules import AbsoluteRate, absolute_rates, driver
from ...plan import ConfigEdit, RunFacts, Verdict
from . import batch_words
from .functional import effective_batch_size, linear_scaled_lr

__all__ = ['Edit']

_SCALED_FROM = 'tricks_scaled_from'  # beside base_batch_size: the batch that a user named before


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
        return batch_words(self.images, self.processes, self.accumulation)


class Edit(ConfigEdit):
    """Scales every optimizer's LR, and the absolute LRs beside it.

    ``auto_scale_lr.base_batch_size`` becomes the batch that the LR fits then, so that a second
    application finds nothing to do, and one with another batch goes on from there.
    """

    def apply(self, cfg: dict[str, Any]) -> Verdict:
        """Scales, unless the LR fits its batch, or mmengine's own scaling gets all of it right."""
        wrappers = optim_wrappers(cfg)
        if not wrappers:
            return Verdict.not_applicable('the config has no optimizer whose LR could be scaled')
        batch = _batch(cfg, wrappers)
        if isinstance(batch, str):
            return Verdict.not_applicable(batch)
        unset = [path for path, wrapper in wrappers if not _is_lr(wrapper['optimizer'].get('lr'))]
        if unset:
            return Verdict.not_applicable(f'{unset[0]}.optimizer sets no lr that could be scaled')
        declared = get(cfg, 'auto_scale_lr.base_batch_size')
        declared = declared if _is_count(declared) else None
        base = self._base(cfg, declared)
        if base is None:
            return Verdict.not_applicable(
                'the config does not say which batch size its LR was chosen for: set '
                'tricks.linear_lr.base_batch_size')
        enabled = bool(get(cfg, 'auto_scale_lr.enable', False))
        if not enabled and batch.effective == base == declared:
            return Verdict.present(f'the effective batch of {base} ({batch}) is the base batch'
                                   + _earlier(cfg), promise=_promise(cfg))
        left = list(absolute_rates(cfg)) if batch.effective != base else []
        if enabled and batch.accumulation == 1 and base == declared and not left:
            return Verdict.present(f'auto_scale_lr is enabled: mmengine scales the LR by '
                                   f'{batch.effective}/{base} itself',
                                   promise=None if driver(cfg, idle=False) else {})
        return self._scale(cfg, wrappers, batch, base, left)

    def pays(self, cfg: dict[str, Any], facts: RunFacts) -> str | None:
        """Not where the file of the LR and ``auto_scale_lr`` name two batches, and nobody chose."""
        declared, named = get(cfg, 'auto_scale_lr.base_batch_size'), facts.named_batch
        if self.params.base_batch_size is not None or named is None or named[0] == declared or \
                'linear_lr' in cfg.get('tricks_applied', {}):
            return None
        return (f'the lr comes from {named[1]}, by its name for {named[0]} images, and '
                f'auto_scale_lr.base_batch_size is {declared}: set '
                'tricks.linear_lr.base_batch_size to the one that is right')

    def _base(self, cfg: dict[str, Any], declared: int | None) -> int | None:
        """The batch that the LR fits; a size that was named and scaled from does not count."""
        given = self.params.base_batch_size
        scaled = declared is not None and given == get(cfg, f'auto_scale_lr.{_SCALED_FROM}')
        return declared if given is None or scaled else given

    def _scale(
        self, cfg: dict[str, Any], wrappers: list[tuple[str, dict[str, Any]]], batch: _Batch,
        base: int, rates: list[AbsoluteRate],
    ) -> Verdict:
        """Edits the config, and words the verdict."""
        effective, given = batch.effective, self.params.base_batch_size
        words = []
        for _, wrapper in wrappers:
            optimizer = wrapper['optimizer']
            before = optimizer['lr']
            optimizer['lr'] = linear_scaled_lr(before, effective, base)
            words.append(f'{before:g} x {effective}/{base} = {optimizer["lr"]:g}')
            _scale_custom(get(wrapper, 'paramwise_cfg.custom_keys'), effective / base)
        for rate in rates:
            rate.scale(effective / base)
        reason = f'lr {", ".join(words)} ({batch})'
        if given != base and effective != base:
            reason += (f'; {base} is auto_scale_lr.base_batch_size: an lr that is for {effective} '
                       f'images already needs tricks.linear_lr.base_batch_size={effective}')
        own = cfg['auto_scale_lr'] if isinstance(cfg.get('auto_scale_lr'), dict) else {}
        if own.get('enable'):
            reason += ('; auto_scale_lr is switched off, so that mmengine does not scale it again'
                       + _left(rates))
        cfg['auto_scale_lr'] = {**own, 'enable': False, 'base_batch_size': effective}
        if given == base:
            cfg['auto_scale_lr'][_SCALED_FROM] = base
        if who := driver(cfg, idle=False):
            reason += f'; {who}: rates of its own are not scaled'
        scope = default_scope(cfg)
        others = sorted({type_name(wrapper['optimizer']) for _, wrapper in wrappers
                         if not is_a(wrapper['optimizer'], 'SGD', scope=scope)})
        if others and effective != base:
            reason += f'; the rule was derived for SGD, not for {", ".join(others)}'
        return Verdict('applied', reason, _promise(cfg))


def _promise(cfg: dict[str, Any]) -> dict[str, Any]:
    """Who else sets the rate may set another one than the rule's; the batch is measured still."""
    return {'rate': False} if driver(cfg, idle=False) else {}


def _left(rates: list[AbsoluteRate]) -> str:
    paths = ', '.join(rate.path for rate in rates)
    return f' (it would leave {paths} as it is)' if paths else ''


def _earlier(cfg: dict[str, Any]) -> str:
    base = get(cfg, f'auto_scale_lr.{_SCALED_FROM}')
    return f', since the LR was scaled from {base} before' if base else ''


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


def _scale_custom(keys: Any, factor: float) -> None:
    """Scales the absolute LRs of single parameters."""
    for item in (keys.values() if isinstance(keys, dict) else ()):
        if isinstance(item, dict) and _is_lr(item.get('lr')):
            item['lr'] *= factor
