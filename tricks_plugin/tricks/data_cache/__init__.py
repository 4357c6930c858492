"""What training reads again and again, kept near the processor: one copy a node."""

from __future__ import annotations

import dataclasses

from ...plan import TRICKS, Params, Trick, bounded

__all__ = ['COMPONENTS', 'DataCache', 'DataCacheParams']

COMPONENTS = {'LoadCachedImage': 'loader'}


@dataclasses.dataclass(frozen=True)
class DataCacheParams(Params):
    """Parameters of `data_cache`."""

    level: str | None = bounded(
        None, 'encoded (the bytes of the files) or decoded (raw arrays); unset: decoded where all '
        'of the set fits the budget, else encoded', choices=('encoded', 'decoded'))
    folder: str | None = bounded(
        None, 'a folder of its own on tmpfs or a local SSD; unset: one of the user in /dev/shm')
    budget_mb: int | None = bounded(
        None, 'largest size of the folder in MB of 10^6 bytes; unset: half of what is free, on '
        "tmpfs at most a quarter of the memory that is available", ge=1)


@TRICKS.register
class DataCache(Trick):
    """Reads images once from their source, and from then on from memory or a local SSD."""

    name = 'data_cache'
    title = 'images kept in memory or on a local SSD, one copy a node'
    paper = 'MinIO cache: Mohan et al. (arXiv 2007.06775) section 4.1'
    order = 115
    Params = DataCacheParams
    evidence = 'tricks_plugin.tricks.data_cache.evidence:CacheEvidence'
    distributed = 'all processes of a node share one folder and its budget'
