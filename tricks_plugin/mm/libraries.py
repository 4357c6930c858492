"""Sentences about configs of OpenMMLab libraries that a trick has no edit for."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

from .classes import is_a, not_seen, type_name
from .config_edit import default_scope, walk

__all__ = ['installed', 'losses', 'segments', 'unseen_parts']

_SEGMENTORS = ('EncoderDecoder', 'CascadeEncoderDecoder', 'MultimodalEncoderDecoder')
_PARTS = ('model', 'detector', 'backbone', 'neck', 'head', 'cls_head', 'bbox_head', 'mask_head',
          'rpn_head', 'roi_head', 'decode_head', 'auxiliary_head', 'encoder', 'decoder')


def installed(scope: str) -> bool:
    """Whether the package of a registry scope can be imported here, without importing it."""
    try:
        return importlib.util.find_spec(scope) is not None
    except (ImportError, ValueError):
        return False


def segments(cfg: dict[str, Any]) -> str:
    """The type of a model that labels pixels by mmseg's segmentors; empty for any other.

    Args:
        cfg: A plain config.
    """
    model = cfg.get('model')
    if not isinstance(model, dict) or not is_a(model, *_SEGMENTORS, scope=default_scope(cfg)):
        return ''
    return type_name(model)


def losses(cfg: dict[str, Any]) -> list[tuple[str, str]]:
    """The path and type of every loss that a config names below its model."""
    return [(path, type_name(node)) for path, node in walk(cfg.get('model'), 'model')
            if type_name(node).endswith('Loss')]


def unseen_parts(cfg: dict[str, Any]) -> Iterator[str]:
    """The parts of a model whose class could not be looked into, by their types."""
    scope = default_scope(cfg)
    for path, node in walk(cfg.get('model'), 'model'):
        name = path.rsplit('.', 1)[-1].partition('[')[0]
        if name in _PARTS and isinstance(node.get('type'), str) and not_seen(node, scope):
            yield type_name(node)
