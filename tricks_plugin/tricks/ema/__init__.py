"""An exponential moving average of the weights, its memory fitted to the run's length."""

from __future__ import annotations

import dataclasses

from ...plan import TRICKS, Params, Trick, bounded

__all__ = ['COMPONENTS', 'Ema', 'EmaParams']

COMPONENTS = {'RunLengthEMAHook': 'hook'}


@dataclasses.dataclass(frozen=True)
class EmaParams(Params):
    """Parameters of `ema`."""

    horizon: float = bounded(0.02, 'memory of the average, as a share of the run', gt=0, lt=1)
    momentum: float | None = bounded(
        None, 'share of the new weights per iteration; overrides horizon', gt=0, lt=1)
    ramp: bool = bounded(False, 'the memory grows to its length from the start of the run on')
    update_buffers: bool = bounded(True, "average BatchNorm's running statistics too")


@TRICKS.register
class Ema(Trick):
    """An exponential moving average of the weights, validated and saved in their place."""

    name = 'ema'
    title = 'exponential moving average of the weights'
    paper = 'Tarvainen and Valpola (arXiv 1703.01780) section 2'
    order = 90
    Params = EmaParams
    evidence = 'tricks_plugin.tricks.ema.evidence:AverageEvidence'
    functions = ('ema_momentum', 'WeightAverage')
