"""ResNet-B, -C and -D: a stem of three small convolutions, and strides that skip no pixel."""

from .functional import match_resnet_keys, resnet_multiply_adds, unmatched_keys

__all__ = ['match_resnet_keys', 'resnet_multiply_adds', 'unmatched_keys']
