"""Small options that make a training step or its data faster and change nothing that it learns."""

from __future__ import annotations

import dataclasses

from ...plan import TRICKS, Params, Trick, bounded

__all__ = ['COMPONENTS', 'Runtime', 'RuntimeParams']

COMPONENTS = {'RuntimeOptionsHook': 'hook'}


@dataclasses.dataclass(frozen=True)
class RuntimeParams(Params):
    """Parameters of `runtime`: each option may be left out."""

    cudnn_benchmark: bool = bounded(True, 'cuDNN tries its algorithms, where shapes are fixed')
    tf32: bool = bounded(True, 'TensorFloat-32 on GPUs that have it')
    channels_last: bool = bounded(True, 'the layout with channels together, where it helps')
    persistent_workers: bool = bounded(True, 'data workers live on from epoch to epoch')
    pin_memory: bool = bounded(True, 'batches in page-locked memory, where there is a GPU')


@TRICKS.register
class Runtime(Trick):
    """Options that make training faster and change nothing that it learns, but for rounding."""

    name = 'runtime'
    title = 'small options for speed'
    paper = 'Micikevicius et al. (arXiv 1710.03740) section 4, and the manuals of PyTorch'
    order = 110
    Params = RuntimeParams
    evidence = 'tricks_plugin.tricks.runtime.evidence:RuntimeEvidence'
    functions = ('fixed_pipeline_size', 'needs_plain_layout')
