"""What label smoothing says of configs of OpenMMLab libraries that it has no edit for."""

from __future__ import annotations

from typing import Any

from ...mm.config_edit import default_scope, not_seen, type_name, walk
from ...mm.libraries import losses, segments, unseen_parts

__all__ = ['nothing', 'present', 'refused']

_SHOWN = 3


def refused(cfg: dict[str, Any]) -> str:
    """Why the labels of a config are not to be smoothed at all; empty if they may be."""
    kind = segments(cfg)
    return kind and (
        f'{kind} labels pixels: for segmentation softened labels cost accuracy, as they blur what '
        'is told pixel by pixel, and of the tricks the cosine schedule helps (arXiv 1812.01187 '
        'section 6.2)')


def present(cfg: dict[str, Any]) -> str:
    """What smooths the labels already by a setting of mmaction's heads; empty if nothing does."""
    for path, node in walk(cfg.get('model'), 'model'):
        eps = node.get('label_smooth_eps')
        if type_name(node) and isinstance(eps, (int, float)) and eps:
            return f'{path}.label_smooth_eps is {eps:g}'
    return ''


def nothing(cfg: dict[str, Any]) -> str:
    """Why no classification loss was found, as far as the config and the classes tell."""
    model, scope = cfg.get('model'), default_scope(cfg)
    if not isinstance(model, dict):
        return 'the config has no model'
    named = _listed([f'{path} is {kind}' for path, kind in losses(cfg)])
    unseen = list(dict.fromkeys(unseen_parts(cfg)))
    if scope == 'mmpretrain':
        words = f'{type_name(model) or "the model"} is no classifier of mmpretrain' + (
            f': {named}, over no class labels that this trick knows' if named else '')
        return f'{words}; {_listed(unseen)} could not be looked into here' if unseen else words
    if not unseen:
        return 'the model has no classification loss over class labels' + (
            f' ({named})' if named else '')
    where = f' (library {scope})' if not_seen(model, scope) else ''
    found = f'no loss over class labels that this trick knows is found ({named})' if named else \
        'the config names no loss'
    return f'{found}; {_listed(unseen)} could not be looked into here{where}'


def _listed(names: list[str]) -> str:
    more = f' and {len(names) - _SHOWN} more' if names[_SHOWN:] else ''
    return f'{", ".join(names[:_SHOWN])}{more}'
