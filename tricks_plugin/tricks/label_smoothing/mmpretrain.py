"""Label smoothing in the heads of mmpretrain's classifiers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from ...mm.classification import classifier, loss_of, num_classes, switching_hook
from ...mm.config_edit import (
    default_scope,
    get,
    is_a,
    lookup_class,
    not_seen,
    run_length,
    type_name,
    walk,
)
from .functional import VARIANTS, default_variant

__all__ = ['ClassSite', 'learns_classes', 'obstacle', 'present', 'sites', 'smooth']

_TYPE = 'tricks_plugin.SmoothedClassificationLoss'
_LOSSES = {
    'FocalLoss': 'weighs samples by its own focal term of hard labels',
    'AsymmetricLoss': 'focuses on hard labels by terms of its own',
    'SeesawLoss': 'balances classes by its own counts of hard labels',
    'RegressionLoss': 'has numbers as targets, not classes',
}
_MODES = {'original': 'szegedy', 'classy_vision': 'classy_vision', 'multi_label': 'multi_label'}


@dataclasses.dataclass(frozen=True)
class ClassSite:
    """A head with a classification loss, or a classifier that has it itself.

    Attributes:
        path: Below ``model``: ``head``, ``head.task_heads.colour``; empty for the model itself.
        owner: The dict whose ``loss`` it is.
        loss: As written, or the class's default; None if neither is known.
        scope: The registry scope of unscoped types.
        classes: The number of classes that the config names elsewhere, or None.
    """

    path: str
    owner: dict[str, Any]
    loss: dict[str, Any] | None
    scope: str
    classes: int | None = None

    @property
    def sigmoid(self) -> bool:
        """Whether each class has a sigmoid of its own."""
        loss = self.loss or {}
        return bool(loss.get('use_sigmoid', loss.get('mode') == 'multi_label'))

    @property
    def several(self) -> bool:
        """Whether an image may have several labels."""
        return self.sigmoid and is_a(self.owner, 'MultiLabelClsHead', 'MultiLabelLinearClsHead',
                                     'CSRAClsHead', scope=self.scope)

    @property
    def outputs(self) -> int | None:
        """K, or None where the config does not say."""
        count = self.owner.get('num_classes', self.classes)
        return count if isinstance(count, int) and not isinstance(count, bool) else None

    def promise(self, variant: str, eps: float) -> dict[str, Any]:
        """What the loss is to show in the run."""
        name = self.path.replace('[', '.').replace(']', '')
        return {'path': '.'.join(filter(None, (name, 'loss_module'))), 'variant': variant,
                'eps': eps}


def learns_classes(cfg: dict[str, Any]) -> bool:
    """Whether a model of mmpretrain learns its images' classes: classifiers, and retrievers."""
    return classifier(cfg) is not None or isinstance(get(cfg, 'model.head'), dict) and \
        is_a(cfg['model'], 'ImageToImageRetriever', scope=default_scope(cfg))


def sites(cfg: dict[str, Any]) -> Iterator[ClassSite]:
    """Every head of a classifier that has a loss, or whose class could not be asked for one."""
    model, scope = cfg['model'], default_scope(cfg)
    if not isinstance(model.get('head'), (dict, list)):
        if not is_a(model, 'ImageClassifier', scope=scope):
            yield ClassSite('', model, loss_of(model, scope) or _stock(model), scope)
        return
    for path, owner in walk(model['head'], 'head'):
        name = type_name(owner)
        if not name or name.endswith('Loss') or is_a(owner, 'MultiTaskHead', scope=scope):
            continue
        loss = loss_of(owner, scope)
        if path == 'head':
            yield ClassSite(path, owner, loss, scope, num_classes(cfg))
        elif loss is not None or path.startswith('head.task_heads.') and path.count('.') == 2:
            yield ClassSite(path, owner, loss, scope)


def _stock(model: dict[str, Any]) -> dict[str, Any] | None:
    """The default of the classifiers of timm and Hugging Face, where mmpretrain is missing."""
    return None if 'loss' in model else {'type': 'CrossEntropyLoss', 'loss_weight': 1.0}


def present(cfg: dict[str, Any], site: ClassSite) -> tuple[str, dict[str, Any] | None] | None:
    """What smooths the labels of a head already, and the promise; None if nothing does."""
    found, switch = _smoothed(site), _switch(cfg, site)
    if found is None or switch is None:
        return found
    path, epoch, what = switch
    words, promise = found
    return (f'{words}; {path} is SwitchRecipeHook, which puts {what} in its place from epoch '
            f'{epoch}, counted from 0', promise and {**promise, 'until': epoch})


def _switch(cfg: dict[str, Any], site: ClassSite) -> tuple[str, int, str] | None:
    """The hook that exchanges a head's loss within the run, the epoch, and the other loss."""
    switch, length = switching_hook(cfg, 'loss'), run_length(cfg)
    if switch is None or site.path not in ('', 'head'):
        return None
    if length is not None and (not length.by_epoch or switch[1] >= length.value):
        return None  # it counts epochs, and has none to act in
    return switch[0], switch[1], type_name(switch[2]) or 'another loss'


def _smoothed(site: ClassSite) -> tuple[str, dict[str, Any] | None] | None:
    """What the loss in the config is, and promises."""
    loss = site.loss or {}
    name = type_name(loss)
    if name == 'SmoothedClassificationLoss':
        variant = loss.get('variant') or default_variant(site.sigmoid)
        return 'smoothed already', site.promise(str(variant), float(loss.get('eps', 0.1)))
    if name != 'LabelSmoothLoss':
        return None
    mode, eps = loss.get('mode', 'original'), loss.get('label_smooth_val')
    known = VARIANTS.get(_MODES.get(str(mode), ''))
    if known is None or not isinstance(eps, float) or not 0 < eps < 1:
        return f'LabelSmoothLoss of mode {mode!r} and label_smooth_val {eps!r}', None
    words = f'smoothed already by LabelSmoothLoss ({mode}): '
    words += ', '.join(f'{who} {formula}' for who, formula in (
        ('true', known.pos_formula), ('others', known.neg_formula)))
    plain = not loss.get('class_weight') and not loss.get('pos_weight') \
        and loss.get('reduction', 'mean') == 'mean'
    return f'{words}, eps={eps:g}', site.promise(_MODES[mode], eps) if plain else None


def obstacle(cfg: dict[str, Any], site: ClassSite) -> str | None:
    """Why a head's labels are not to be smoothed, in a few words; None if they are."""
    loss, owner = site.loss, type_name(site.owner)
    if loss is None:
        unseen = not_seen(site.owner, site.scope)
        return f'the loss of {owner} is not in the config{unseen}' if unseen else \
            f'{owner} has no loss over class labels that this trick knows'
    name = type_name(loss)
    if name != 'CrossEntropyLoss':
        return f'{name} {_LOSSES.get(name, "is a loss this trick does not know")}' \
            f'{not_seen(loss, site.scope)}'
    found = lookup_class(str(loss['type']), site.scope)
    if found is not None and not found.__module__.startswith('mmpretrain.'):
        return f'{loss["type"]} is not the loss of mmpretrain'
    switch = switching_hook(cfg, 'loss')
    if switch is not None:
        return f'{switch[0]} is SwitchRecipeHook, which puts another loss in its place'
    if site.outputs == 1:
        return 'a single class, nothing to smooth'
    return None


def smooth(site: ClassSite, variant: str | None, eps: float) -> tuple[str, str] | str:
    """Edits one head.

    Returns:
        The variant that was taken, and a clause on the head; or why not, in words.
    """
    chosen = variant or ('multi_label' if site.several else default_variant(site.sigmoid))
    if not (site.sigmoid or VARIANTS[chosen].sums_to_one):
        return f"the targets of variant '{chosen}' do not sum to 1, as a softmax needs"
    site.owner['loss'] = {**(site.loss or {}), 'type': _TYPE, 'eps': eps, 'variant': chosen}
    several = ', several labels an image' if site.several else ''
    return chosen, f"{'sigmoid' if site.sigmoid else 'softmax'} {chosen}{several}"
