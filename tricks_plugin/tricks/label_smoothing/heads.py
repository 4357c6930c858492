"""What a config says about its classification losses: which mean a class label, and of how many.

Everything here reads plain dicts and imports no mm* package; classes are looked up by name.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from typing import Any

from ...mm import config_edit
from .functional import default_variant

__all__ = ['Site', 'already_smoothed', 'obstacle', 'output_count', 'present_promise', 'promise',
           'sites']

_AGNOSTIC = ('RPNHead', 'GARPNHead', 'CascadeRPNHead', 'StageCascadeRPNHead')
# mmdet heads whose targets, or whose use of `loss_cls`, leave no class label to smooth.
_HEADS = {
    'FreeAnchorRetinaHead': 'computes its bag losses from the scores and never calls loss_cls',
    'AutoAssignHead': 'computes its losses from joint confidences and never calls loss_cls',
    'YOLOXHead': 'has the IoU of the predicted box as its class target',
    'VFNetHead': 'has the IoU of the predicted box as its class target',
    'GroundingDINOHead': 'has text tokens as targets, not classes',
    'ATSSVLFusionHead': 'has text tokens as targets, not classes',
    'SSDHead': 'computes its cross entropy by itself and has no loss_cls',
    'PISASSDHead': 'computes its cross entropy by itself and has no loss_cls',
}
_LOSSES = {
    'QualityFocalLoss': 'has the quality of the box as its target',
    'DistributionFocalLoss': 'has the quality of the box as its target',
    'VarifocalLoss': 'has the IoU of the predicted box as its target',
    'GaussianFocalLoss': 'has a heat map as its target',
    'SeesawLoss': 'balances classes by its own counts of hard labels',
    'EQLV2Loss': 'balances classes by its own counts of hard labels',
    'GHMC': 'weights samples by the gradient of hard labels',
    'CrossEntropyCustomLoss': 'has output channels of its own',
    'FocalCustomLoss': 'has output channels of its own',
}
_SMOOTHED = ('SmoothedCrossEntropyLoss', 'SmoothedFocalLoss', 'LabelSmoothLoss')
_SUPPORTED = ('CrossEntropyLoss', 'FocalLoss')


@dataclasses.dataclass
class Site:
    """A head with a classification loss, or one that is known to have none to edit.

    Attributes:
        path: Of the head, below ``model``: ``roi_head.bbox_head[0]``; empty for the model itself.
        head: The head's dict.
        loss: Its ``loss_cls``: written in the config, or the default of its class; None if it has
            neither.
        scope: The registry scope of unscoped types.
    """

    path: str
    head: dict[str, Any]
    loss: dict[str, Any] | None
    scope: str

    @property
    def use_sigmoid(self) -> bool:
        """Whether the loss sees independent sigmoids."""
        default = config_edit.type_name(self.loss) in ('FocalLoss', 'SmoothedFocalLoss')
        return bool((self.loss or {}).get('use_sigmoid', default))

    def is_a(self, *names: str) -> bool:
        """Whether the head is of one of these classes."""
        return config_edit.is_a(self.head, *names, scope=self.scope)


def sites(model: Any, scope: str) -> list[Site]:
    """Every head with a classification loss below a model, at any depth, in the config's order."""
    found = []
    for path, head in config_edit.walk(model):
        if isinstance(head.get('loss_cls'), dict):
            found.append(Site(path, head, head['loss_cls'], scope))
        elif isinstance(head.get('type'), str) and 'loss_cls' not in head:
            default = _default(head['type'], 'loss_cls', scope)
            loss = config_edit.plain(default) if isinstance(default, dict) else None
            site = Site(path, head, loss, scope)
            if loss is not None or site.is_a('SSDHead'):
                found.append(site)
    return found


def _default(kind: str, name: str, scope: str) -> Any:
    """The default of a constructor's argument, through the ``**kwargs`` of subclasses, or None."""
    found = config_edit.lookup_class(kind, scope)
    if not inspect.isclass(found) or '.losses.' in found.__module__:
        return None
    for parameters in _signatures(found):
        if name in parameters:
            default = parameters[name].default
            return None if default is inspect.Parameter.empty else default
        if not any(item.kind is item.VAR_KEYWORD for item in parameters.values()):
            return None
    return None


def _signatures(found: type) -> Iterator[dict[str, inspect.Parameter]]:
    """The parameters of each constructor of a class and its bases, nearest first."""
    for base in inspect.getmro(found):
        if '__init__' in base.__dict__:
            try:
                yield dict(inspect.signature(base.__dict__['__init__']).parameters)
            except (TypeError, ValueError):
                return


def already_smoothed(site: Site) -> bool:
    """Whether the config smooths this head's labels by itself."""
    if site.is_a('YOLOV3Head') and _is_set(site.head.get('one_hot_smoother')):
        return True
    return config_edit.type_name(site.loss) in _SMOOTHED or 'label_smooth_val' in (site.loss or {})


def promise(site: Site, variant: str, eps: float) -> dict[str, Any]:
    """What a head's loss is to show in the run: the rule, for as many classes as arrive."""
    path = '.'.join(part for part in (site.path.replace('[', '.').replace(']', ''),
                                      'loss_cls') if part)
    return {'path': path, 'variant': variant, 'eps': eps}


def present_promise(site: Site) -> dict[str, Any] | None:
    """The same of a head that the config smooths by itself; None where it cannot be measured."""
    if site.is_a('YOLOV3Head') and _is_set(site.head.get('one_hot_smoother')):
        return promise(site, 'szegedy', float(site.head['one_hot_smoother']))
    loss = site.loss or {}
    if config_edit.type_name(loss) in ('SmoothedCrossEntropyLoss', 'SmoothedFocalLoss'):
        variant = loss.get('variant') or default_variant(site.use_sigmoid)
        return promise(site, str(variant), float(loss.get('eps', 0.1)))
    return None


def _is_set(value: Any) -> bool:
    return isinstance(value, (int, float)) and value != 0


def obstacle(site: Site) -> str | None:
    """Why a head's labels are not to be smoothed, in a few words; None if they are."""
    parts = site.path.replace('[', '.').split('.')
    if 'rpn_head' in parts or site.is_a(*_AGNOSTIC):
        return 'class-agnostic objectness'
    if any(part.startswith('teacher') for part in parts):
        return 'a teacher, which is not trained'
    for name, why in _HEADS.items():
        if site.is_a(name):
            return f'{config_edit.type_name(site.head)} {why}'
    unseen = config_edit.not_seen(site.head, site.scope)
    if unseen and (site.scope != 'mmdet' or '.' in str(site.head['type'])):
        return f'whether its targets are classes is not known{unseen}'
    loss = site.loss or {}
    name = config_edit.type_name(loss)
    if name not in _SUPPORTED:
        return f'{name} {_LOSSES.get(name, "is a loss this trick does not know")}'
    if not _is_of_mmdet(loss, site.scope):
        return f"{loss['type']} is not the loss of mmdet"
    if loss.get('use_mask'):
        return 'a mask loss'
    count = _classes(site)
    if count is not None and count < 2:
        return 'a single class, nothing to smooth'
    return None


def _is_of_mmdet(loss: dict[str, Any], scope: str) -> bool:
    """Whether a loss type of a known name is the class that the smoothed one derives from."""
    kind = loss.get('type')
    if not isinstance(kind, str):
        return False
    found = config_edit.lookup_class(kind, scope)
    if inspect.isclass(found):
        return found.__module__.startswith('mmdet.')
    return kind.startswith('mmdet.') or ('.' not in kind and scope == 'mmdet')


def _classes(site: Site) -> int | None:
    """The head's number of classes without background, or None where the config does not say."""
    head = site.head
    count = head.get('num_classes')
    if count is None and 'num_things_classes' in head:
        parts = [head['num_things_classes'], head.get('num_stuff_classes', 0)]
        count = sum(parts) if all(isinstance(part, int) for part in parts) else None
    if count is None and isinstance(head.get('type'), str):
        count = _default(head['type'], 'num_classes', site.scope)
    return count if isinstance(count, int) and not isinstance(count, bool) else None


def output_count(site: Site) -> int | None:
    """K, the outputs that a label is spread over; None where the config does not say.

    A softmax of an mmdet head has one output more than classes, for background.
    """
    count = _classes(site)
    if count is None or site.use_sigmoid:
        return count
    kind = site.head.get('type')
    found = config_edit.lookup_class(kind, site.scope) if isinstance(kind, str) else None
    known = inspect.isclass(found) and any(
        base.__module__.startswith('mmdet.') for base in inspect.getmro(found))
    if not known:
        return None
    return count if site.is_a('LinearReIDHead') else count + 1
