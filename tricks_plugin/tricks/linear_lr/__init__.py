"""The learning rate in proportion to the effective batch."""

from __future__ import annotations

import dataclasses

from ...plan import TRICKS, Params, Trick, bounded

__all__ = ['LinearLRParams', 'LinearScaling', 'batch_words']


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
    Params = LinearLRParams
    evidence = 'tricks_plugin.tricks.linear_lr.evidence:BatchEvidence'
    functions = ('effective_batch_size', 'linear_scaled_lr')
    distributed = 'the LR grows with the number of processes'


def batch_words(batch_size: int, world_size: int = 1, accumulation: int = 1) -> str:
    """What makes up the effective batch, in words: ``2 images x 1 process x 4 accumulation``."""
    images = 'image' if batch_size == 1 else 'images'
    processes = 'process' if world_size == 1 else 'processes'
    return f'{batch_size} {images} x {world_size} {processes} x {accumulation} accumulation'
