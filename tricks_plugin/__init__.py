"""The bag of training tricks, as registered parts and config edits for mmdet, mmengine and timm.

Names are imported on first use, so that `tricks_plugin.functional` needs NumPy and torch only.
"""

from __future__ import annotations

import importlib
from typing import Any

from .errors import TrickError
from .version import __version__

_API = {
    'apply_tricks': 'tricks_plugin.apply',
    'recipe': 'tricks_plugin.recipes',
    'Plan': 'tricks_plugin.plan',
    'TRICKS': 'tricks_plugin.tricks.base',
    'Trick': 'tricks_plugin.tricks.base',
    'Verdict': 'tricks_plugin.tricks.base',
}
# Registered by plain name when tricks_plugin.registry is imported; mmengine finds them as
# 'tricks_plugin.NAME' by itself.
COMPONENTS = {
    'TricksRunner': 'tricks_plugin.runner',
    'TrickEvidenceHook': 'tricks_plugin.evidence_hook',
    'GeometryPreservingMixUp': 'tricks_plugin.tricks.mixup.transform',
    'PackWeightedDetInputs': 'tricks_plugin.tricks.mixup.packing',
    'MixUpWeightingHook': 'tricks_plugin.tricks.mixup.weighting.hook',
    'MixUpOffHook': 'tricks_plugin.tricks.mixup.hook',
    'SmoothedCrossEntropyLoss': 'tricks_plugin.tricks.label_smoothing.loss',
    'SmoothedFocalLoss': 'tricks_plugin.tricks.label_smoothing.loss',
    'WarmupCosineLR': 'tricks_plugin.tricks.cosine_warmup.scheduler',
    'SyncBatchNormHook': 'tricks_plugin.tricks.sync_bn.hook',
    'BatchRandomShapes': 'tricks_plugin.tricks.random_shapes.batch_augment',
    'BatchRandomShapesHook': 'tricks_plugin.tricks.random_shapes.hook',
    'BFloat16OptimWrapper': 'tricks_plugin.tricks.amp.wrapper',
    'RunLengthEMAHook': 'tricks_plugin.tricks.ema.hook',
    'ZeroGammaHook': 'tricks_plugin.tricks.zero_gamma.hook',
    'ResNetDPretrainedInit': 'tricks_plugin.tricks.resnet_d.initializer',
    'RuntimeOptionsHook': 'tricks_plugin.tricks.runtime.hook',
    'NoBiasDecayOptimWrapperConstructor': 'tricks_plugin.tricks.no_bias_decay.constructor',
}

__all__ = ['TrickError', '__version__', 'functional', *_API, *COMPONENTS]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name == 'functional':
        return importlib.import_module('tricks_plugin.functional')
    where = _API.get(name) or COMPONENTS.get(name)
    if where is None:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    value = getattr(importlib.import_module(where), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
