"""Batch normalization over the batch of all processes (arXiv 1902.04103 section 3.5)."""

from __future__ import annotations

from ...plan import TRICKS, Trick

__all__ = ['COMPONENTS', 'SyncBn']

COMPONENTS = {'SyncBatchNormHook': 'hook'}


@TRICKS.register
class SyncBn(Trick):
    """Adds the hook, where a BN layer trains and none of another kind synchronizes it."""

    name = 'sync_bn'
    title = 'Batch normalization over the batch of all processes'
    paper = 'BoF (arXiv 1902.04103) section 3.5'
    order = 60
    evidence = 'tricks_plugin.tricks.sync_bn.evidence:SyncBnEvidence'
    functions = ('CrossRankBatchNorm', 'merge_moments', 'sync_bn_traffic',
                 'synchronize_batch_norms')
    distributed = 'statistics of all processes'
    alone = 'a single process has the whole batch: there is nothing to synchronize'
