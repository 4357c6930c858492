"""Which head families' losses can be weighted per box, by the names of mmdet's classes.

Names alone, so that a plan can tell without building a model. A class that derives from one of
them, a user's own too, belongs to the first one in its method resolution order.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .base import HeadAdapter

__all__ = ['FAMILIES', 'WITHIN', 'family_of', 'is_weighted', 'load_adapter']

# Class name -> 'module:Adapter' in this package, or None: trained on mixed images, unweighted.
FAMILIES: dict[str, str | None] = {
    'BaseRoIHead': 'roi:RoIAdapter',
    'SparseRoIHead': 'roi:QueryRoIAdapter',
    'MultiInstanceRoIHead': 'roi_emd:MultiInstanceRoIAdapter',
    'FusedSemanticHead': None,  # a semantic map, which has no boxes
    'GlobalContextHead': None,  # the classes of the whole image
    'YOLOV3Head': 'yolov3:YOLOV3Adapter',
    'FCOSHead': 'points:FCOSAdapter',
    'FoveaHead': 'points:FoveaAdapter',
    'CondInstBboxHead': 'points:CondInstBboxAdapter',
    'CondInstMaskHead': 'condinst:CondInstMaskAdapter',
    'BoxInstMaskHead': 'condinst:BoxInstMaskAdapter',
    'RepPointsHead': 'reppoints:RepPointsAdapter',
    'AutoAssignHead': 'autoassign:AutoAssignAdapter',
    'CenterNetHead': 'centernet:CenterNetAdapter',
    'CornerHead': 'centernet:CornerAdapter',
    'CentripetalHead': 'centernet:CentripetalAdapter',
    'CenterNetUpdateHead': 'centernet_update:CenterNetUpdateAdapter',
    'YOLOXHead': 'yolox:YOLOXAdapter',
    'SOLOHead': 'solo:SOLOAdapter',
    'SOLOV2Head': 'solo:SOLOV2Adapter',
    'CLRHead': None,  # lanes, which have no boxes
    'ATSSHead': 'atss:ATSSAdapter',
    'ATSSVLFusionHead': None,  # its classes are tokens of a text, and texts are not mixed
    'DDODHead': 'atss:DDODAdapter',
    'GFLHead': 'atss:GFLAdapter',
    'LADHead': 'paa:LADAdapter',
    'LDHead': 'atss:GFLAdapter',
    'PAAHead': 'paa:PAAAdapter',
    'RTMDetHead': 'atss:ATSSAdapter',
    'RTMDetInsHead': 'rtmdet:RTMDetInsAdapter',
    'RTMDetInsSepBNHead': 'rtmdet:RTMDetInsAdapter',
    'RTMDetSepBNHead': 'atss:ATSSAdapter',
    'TOODHead': 'atss:TOODAdapter',
    'VFNetHead': 'atss:VFNetAdapter',
    'DETRHead': 'detr:DETRAdapter',
    'DDQDETRHead': 'detr:DDQAdapter',
    'MaskFormerHead': 'maskformer:MaskFormerAdapter',
    'Mask2FormerTrackHead': None,  # videos, whose frames cannot be mixed
    'AnchorHead': 'anchor:AnchorAdapter',
    'RetinaHead': 'anchor:AnchorAdapter',
    'RetinaSepBNHead': 'anchor:AnchorAdapter',
    'RPNHead': 'anchor:AnchorAdapter',
    'SSDHead': 'anchor:AnchorAdapter',
    'YOLACTHead': 'anchor:AnchorAdapter',
    'SABLRetinaHead': 'anchor:SABLAdapter',
    'YOLOFHead': 'anchor:YOLOFAdapter',
    'StageCascadeRPNHead': 'anchor:StageCascadeRPNAdapter',
    'CascadeRPNHead': 'anchor:CascadeRPNAdapter',
    'GuidedAnchorHead': 'anchor_guided:GuidedAnchorAdapter',
    'GARetinaHead': 'anchor_guided:GuidedAnchorAdapter',
    'GARPNHead': 'anchor_guided:GuidedAnchorAdapter',
    'FreeAnchorRetinaHead': 'anchor_selecting:FreeAnchorAdapter',
    'FSAFHead': 'anchor_selecting:FSAFAdapter',
    'PISARetinaHead': 'anchor_selecting:PISARetinaAdapter',
    'PISASSDHead': 'anchor_selecting:PISASSDAdapter',
    'YOLACTProtonet': 'anchor_yolact:YOLACTMaskAdapter',
}

# Heads inside a RoI head, whose adapter weights them.
WITHIN = ('BBoxHead', 'FCNMaskHead', 'MaskPointHead', 'MaskIoUHead', 'GridHead')
# Heads without a loss of their own.
_NO_LOSS = ('EmbeddingRPNHead', 'FeatureRelayHead', 'BasePanopticFusionHead', 'DyHead')


def is_weighted(kind: type) -> bool:
    """Whether a head's losses are weighted per box, or there are none to weight.

    A head that is built with a loss that ignores weights may still be left out; the log of the
    run names it.

    Args:
        kind: A head's class.
    """
    names = list(_mmdet_names(kind))
    family = next((name for name in names if name in FAMILIES), None)
    return bool(family and FAMILIES[family]) or any(name in (*WITHIN, *_NO_LOSS) for name in names)


def family_of(kind: type) -> str | None:
    """The name of the family that a class belongs to; None if it is of none.

    Args:
        kind: A head's class.
    """
    return next((name for name in _mmdet_names(kind) if name in FAMILIES), None)


def load_adapter(kind: type) -> type[HeadAdapter] | None:
    """The adapter of a head's class; None where its losses cannot be weighted."""
    family = family_of(kind)
    place = FAMILIES[family] if family else None
    if place is None:
        return None
    module, _, name = place.partition(':')
    return getattr(importlib.import_module(f'.{module}', __package__), name)


def _mmdet_names(kind: type) -> Iterable[str]:
    return (base.__name__ for base in kind.__mro__ if base.__module__.startswith('mmdet.'))
