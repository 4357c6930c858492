"""ResNet-B, -C and -D: a stem of three small convolutions, and strides that skip no pixel."""

from __future__ import annotations

import dataclasses

from ...plan import TRICKS, Params, Trick, bounded

__all__ = ['COMPONENTS', 'DEPTHS', 'ResNetD', 'ResNetDParams']

COMPONENTS = {'ResNetDPretrainedInit': 'initializer'}
DEPTHS = (18, 34, 50, 101, 152)


@dataclasses.dataclass(frozen=True)
class ResNetDParams(Params):
    """Parameters of `resnet_d`."""

    variant: str = bounded('d', 'which of the three tweaked networks', choices=('b', 'c', 'd'))
    checkpoint: str | None = bounded(
        None, "weights of your own for it; None takes those that mmengine's tables name")


@TRICKS.register
class ResNetD(Trick):
    """ResNet-B, -C or -D in place of the config's ResNet."""

    name = 'resnet_d'
    title = 'ResNet-D: no stride that skips pixels, three small convolutions for the stem'
    paper = 'BoT (arXiv 1812.01187) section 4'
    order = 5
    Params = ResNetDParams
    evidence = 'tricks_plugin.tricks.resnet_d.evidence:ResNetVariantEvidence'
    functions = ('match_resnet_keys', 'resnet_multiply_adds', 'unmatched_keys')
