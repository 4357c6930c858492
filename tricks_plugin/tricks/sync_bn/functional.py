"""The layer over several processes, and the arithmetic of its statistics."""

from ...common.sync_bn import CrossRankBatchNorm, synchronize_batch_norms
from ...common.sync_bn.moments import merge_moments, sync_bn_traffic

__all__ = ['CrossRankBatchNorm', 'merge_moments', 'sync_bn_traffic', 'synchronize_batch_norms']
