"""Batch normalization over the batch of all processes (arXiv 1902.04103 section 3.5).

Importing this package needs torch alone; the config edit is in `trick`, the hook in `hook`.
"""

from __future__ import annotations

from .convert import Conversion, survey, synchronize_batch_norms
from .functional import merge_moments, sync_bn_traffic
from .layer import CrossRankBatchNorm, CrossRankBatchNormAct

__all__ = ['Conversion', 'CrossRankBatchNorm', 'CrossRankBatchNormAct', 'merge_moments', 'survey',
           'sync_bn_traffic', 'synchronize_batch_norms']
