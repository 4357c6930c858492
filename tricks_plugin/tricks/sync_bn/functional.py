"""The arithmetic of statistics over several processes."""

from ...common.sync_bn.moments import merge_moments, sync_bn_traffic

__all__ = ['merge_moments', 'sync_bn_traffic']
