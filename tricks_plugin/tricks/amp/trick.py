"""The config edit that switches a training to 16-bit mixed precision."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection
from typing import Any

from ...mm.config_edit import default_scope, find, is_a, optim_wrappers, type_name, walk
from ...plan import TRICKS, Params, Trick, Verdict, bounded
from .functional import pick_dtype

__all__ = ['Amp', 'AmpParams', 'has_bfloat16']

_WRAPPERS = {'bfloat16': 'tricks_plugin.BFloat16OptimWrapper', 'float16': 'AmpOptimWrapper'}
# mmcv's compiled operations have kernels for float32 and float16 alone.
_COMPILED = re.compile(
    r'RoIAlign|RoIPool|RoIExtractor|DCN|DeformConv|MultiScaleDeformable|MSDeformAttn|CARAFE'
    r'|DeformableDETR|DINO|DDQ|TOODHead|VFNetHead|RepPointsHead|GuidedAnchor|GARetina|GARPN'
    r'|CascadeRPN|DDODHead')
_OPTION = re.compile(r'dcn|deform', re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class AmpParams(Params):
    """Parameters of `amp`."""

    dtype: str = bounded('auto', "the 16-bit format; 'auto' takes the best that device and model "
                         'have', choices=('auto', 'bfloat16', 'float16'))


@TRICKS.register
class Amp(Trick):
    """Mixed precision by one switch."""

    name = 'amp'
    title = '16-bit mixed precision'
    paper = 'Micikevicius et al. (arXiv 1710.03740); BoT (arXiv 1812.01187) section 3.2'
    order = 80
    Params = AmpParams
    evidence = 'tricks_plugin.tricks.amp.evidence:AutocastEvidence'
    timm_main = 'amp'

    def apply(self, cfg: dict[str, Any]) -> Verdict:
        """Exchanges the optimizer wrappers, whose settings stay."""
        wrappers = optim_wrappers(cfg)
        if not wrappers:
            return Verdict.not_applicable('the config has no optimizer')
        if cfg.get('strategy') is not None:
            return Verdict.not_applicable('cfg.strategy decides over the precision itself')
        scope = default_scope(cfg)
        for path, wrapper in wrappers:
            name = type_name(wrapper.get('type') or 'OptimWrapper')
            if is_a(wrapper, 'AmpOptimWrapper', 'ApexOptimWrapper', 'BFloat16OptimWrapper',
                    scope=scope):
                return Verdict.present(f'{path} is {name}')
            if name != 'OptimWrapper':
                return Verdict.not_applicable(f'{path} is {name}, which decides over the '
                                              'precision itself')
        device = _device()
        half_only = _half_only(cfg.get('model'), device, scope)
        dtype = pick_dtype(device, has_bfloat16(device), bool(half_only))
        wanted = self.params.dtype
        if wanted != 'auto' and wanted != dtype:
            reason = _why_not(wanted, device, half_only)
            if reason:
                return Verdict.not_applicable(reason)
            dtype = wanted
        if dtype is None:
            return Verdict.not_applicable(_why_not('bfloat16', device, half_only))
        for _, wrapper in wrappers:
            wrapper['type'] = _WRAPPERS[dtype]
        return Verdict.applied(_reason(dtype, device, half_only), dtype=dtype)

    def timm_args(
        self, args: dict[str, Any], given: Collection[str] = frozenset(),
    ) -> dict[str, Any] | str | None:
        """Switches timm's native AMP on, in the format that its device has."""
        if args.get('model_dtype') not in (None, 'float32'):
            return f"AMP needs a float32 model, and --model-dtype is {args['model_dtype']}"
        device = str(args.get('device') or _device()).split(':')[0]
        known = args.get('bfloat16')  # of the machine that is planned for, if not this one
        dtype = pick_dtype(device, has_bfloat16(device) if known is None else known, False)
        if self.params.dtype not in ('auto', dtype):
            reason = _why_not(self.params.dtype, device, '')
            if reason:
                return reason
            dtype = self.params.dtype
        return f'no 16-bit format is known for {device.upper()}' if dtype is None else \
            {'amp': True, 'amp_dtype': dtype}

    def timm_note(self, before: dict[str, Any], after: dict[str, Any]) -> str:
        """Says which format, and whether the loss is scaled."""
        device = str(after.get('device') or _device()).split(':')[0]
        scaled = after['amp_dtype'] == 'float16' and device == 'cuda'
        return (f'{after["amp_dtype"]} on {device.upper()}, '
                + ('with dynamic loss scaling' if scaled else 'without loss scaling'))


def _device() -> str:
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


def _why_not(dtype: str, device: str, half_only: str) -> str:
    """Why a format would not train here; empty if it would."""
    if dtype == 'float16':
        return '' if device == 'cuda' else \
            f'float16 needs a GPU, and this machine trains on the {device.upper()}'
    if half_only:
        return (f"{half_only} uses a compiled operation of mmcv, which has no bfloat16"
                + ('' if device == 'cuda' else ', and float16 needs a GPU'))
    return '' if has_bfloat16(device) else f'this {device.upper()} device has no bfloat16'


def _reason(dtype: str, device: str, half_only: str) -> str:
    where = device.upper()
    if dtype == 'bfloat16':
        return f'bfloat16 on this machine ({where}), which needs no loss scaling'
    why = f'{half_only} has no bfloat16' if half_only else 'this device has no bfloat16'
    return f'float16 with dynamic loss scaling on this machine ({where}), since {why}'
