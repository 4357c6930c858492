"""The config edit that switches a training to 16-bit mixed precision."""

from __future__ import annotations

import re
from typing import Any

from ...mm.config_edit import default_scope, find, is_a, not_seen, optim_wrappers, type_name, walk
from ...plan import ConfigEdit, RunFacts, Verdict
from . import device as machine
from .functional import pick_dtype

__all__ = ['Edit']

_WRAPPERS = {'bfloat16': 'tricks_plugin.BFloat16OptimWrapper', 'float16': 'AmpOptimWrapper'}
# mmcv's compiled operations have kernels for float32 and float16 alone.
_COMPILED = re.compile(
    r'RoIAlign|RoIPool|RoIExtractor|DCN|DeformConv|MultiScaleDeformable|MSDeformAttn|CARAFE'
    r'|DeformableDETR|DINO|DDQ|TOODHead|VFNetHead|RepPointsHead|GuidedAnchor|GARetina|GARPN'
    r'|CascadeRPN|DDODHead')
_OPTION = re.compile(r'dcn|deform', re.IGNORECASE)
_HALF = ('AmpOptimWrapper', 'ApexOptimWrapper', 'BFloat16OptimWrapper')


class Edit(ConfigEdit):
    """Exchanges the optimizer wrappers, whose settings stay."""

    def apply(self, cfg: dict[str, Any]) -> Verdict:
        """Changes the type of every plain wrapper."""
        wrappers = optim_wrappers(cfg)
        if not wrappers:
            return Verdict.not_applicable('the config has no optimizer')
        if cfg.get('strategy') is not None:
            return Verdict.not_applicable('cfg.strategy decides over the precision itself')
        scope = default_scope(cfg)
        plain, there = [], []
        for path, wrapper in wrappers:
            name = type_name(wrapper.get('type') or 'OptimWrapper')
            if name == 'OptimWrapper':
                plain.append(wrapper)
            elif not is_a(wrapper, *_HALF, scope=scope):
                return Verdict.not_applicable(f'{path} is {name}, which decides over the '
                                              f'precision itself{not_seen(wrapper, scope)}')
            elif wrapper.get('opt_level') == 'O0':
                return Verdict.not_applicable(f'{path} is {name} with opt_level O0, which is '
                                              'float32')
            else:
                there.append(f'{path} is {name}{_format(wrapper)}')
        if not plain:
            return Verdict.present(self._differs(wrappers, there[0]), {})
        return self._edit(cfg, plain, scope, there)

    def pays(self, cfg: dict[str, Any], facts: RunFacts) -> str | None:
        """Asks whether this machine's device is faster in the format that it would get."""
        device = machine.kind()
        half_only = _half_only(cfg.get('model'), device, default_scope(cfg))
        return machine.why_slow(device, bool(half_only)) or None

    def _edit(self, cfg: dict[str, Any], plain: list[dict[str, Any]], scope: str,
              there: list[str]) -> Verdict:
        """Exchanges the wrappers that compute in float32."""
        device = machine.kind()
        half_only = _half_only(cfg.get('model'), device, scope)
        dtype = pick_dtype(device, machine.has_bfloat16(device), bool(half_only))
        wanted = self.params.dtype
        if wanted != 'auto' and wanted != dtype:
            reason = machine.why_not(wanted, device, half_only)
            if reason:
                return Verdict.not_applicable(reason)
            dtype = wanted
        if dtype is None:
            return Verdict.not_applicable(machine.why_not('bfloat16', device, half_only))
        for wrapper in plain:
            wrapper['type'] = _WRAPPERS[dtype]
        return Verdict.applied('; '.join([_reason(dtype, device, half_only), *there]))

    def _differs(self, wrappers: list[tuple[str, dict[str, Any]]], reason: str) -> str:
        """The reason, with a clause where the config's format is not the one asked for."""
        wanted = self.params.dtype
        if wanted == 'auto' or all(_dtype(wrapper) in ('', wanted) for _, wrapper in wrappers):
            return reason
        return f'{reason}, and stays so: the {wanted} asked for is not set'


def _dtype(wrapper: dict[str, Any]) -> str:
    """The format of a 16-bit wrapper; empty where it is not known."""
    name = type_name(wrapper)
    if name == 'AmpOptimWrapper':
        return str(wrapper.get('dtype') or 'float16').removeprefix('torch.')
    return 'bfloat16' if name == 'BFloat16OptimWrapper' else ''


def _format(wrapper: dict[str, Any]) -> str:
    given = wrapper.get('dtype')
    return f' with dtype {given}' if given else ''


def _half_only(model: Any, device: str, scope: str) -> str:
    """The first part of a model that computes by a compiled operation without bfloat16."""
    for path, node in walk(model, 'model'):
        if _COMPILED.search(type_name(node)):
            return type_name(node)
        option = next((key for key, value in node.items()
                       if isinstance(key, str) and _OPTION.search(key) and value), None)
        if option:
            return f'{path}.{option}'
    if device == 'cuda':  # on the CPU mmdet computes it by torch
        for _, node in find(model, 'FocalLoss', path='model', scope=scope):
            return type_name(node)
    return ''


def _reason(dtype: str, device: str, half_only: str) -> str:
    where = device.upper()
    if dtype == 'bfloat16':
        return f'bfloat16 on this machine ({where}), which needs no loss scaling'
    why = f'{half_only} has no bfloat16' if half_only else 'this device has no bfloat16'
    return f'float16 with dynamic loss scaling on this machine ({where}), since {why}'
