"""A run that waits for its data says so, why, and what would help."""

from __future__ import annotations

import dataclasses

from ...plan import TRICKS, Params, Trick, bounded

__all__ = ['COMPONENTS', 'DataMonitorParams', 'DataMonitorTrick']

COMPONENTS = {'DataBottleneckHook': 'hook'}


@dataclasses.dataclass(frozen=True)
class DataMonitorParams(Params):
    """Parameters of `data_monitor`."""

    threshold: float = bounded(
        0.1, 'share of the time spent waiting for data that is worth a word', gt=0, lt=1)
    interval: int = bounded(10, 'iterations between two values of the logged share', ge=1)
    window: int = bounded(100, 'iterations whose mean share is compared with the threshold', ge=1)
    samples: int = bounded(16, 'samples whose reading, decoding and transforms are timed', ge=1)


@TRICKS.register
class DataMonitorTrick(Trick):
    """Measures how long the training waits for data, and names the cause where that is long."""

    name = 'data_monitor'
    title = 'the share of the run that waits for data, what is to blame, and what would help'
    paper = 'practice; data stalls in training: Mohan et al. (arXiv 2007.06775) section 3'
    order = 116
    Params = DataMonitorParams
    evidence = 'tricks_plugin.tricks.data_monitor.evidence:DataMonitorEvidence'
    distributed = 'each process counts for itself; the first one speaks'
