"""ResNet-B, -C and -D: a stem of three small convolutions, and strides that skip no pixel."""

from . import trick  # noqa: F401

COMPONENTS = {'ResNetDPretrainedInit': 'initializer'}
