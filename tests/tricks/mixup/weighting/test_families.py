"""The table of head families: names, adapters, and what derives from them."""

from __future__ import annotations

import pytest
from mmdet.models.dense_heads import ATSSVLFusionHead, YOLOV3Head

from tricks_plugin.tricks.mixup.weighting.base import HeadAdapter
from tricks_plugin.tricks.mixup.weighting.families import FAMILIES, family_of, load_adapter

pytestmark = pytest.mark.slow


class UsersHead(YOLOV3Head):
    """A head of somebody else's, derived from mmdet's."""


class YOLOXHead:
    """Somebody else's class that only has the name."""


def test_a_user_s_subclass_belongs_to_the_family_and_a_namesake_does_not():
    assert family_of(UsersHead) == 'YOLOV3Head'
    assert load_adapter(UsersHead).__name__ == 'YOLOV3Adapter'
    assert family_of(YOLOXHead) is None and load_adapter(YOLOXHead) is None


@pytest.mark.parametrize('name', [name for name, place in FAMILIES.items() if place])
def test_every_family_is_a_class_of_mmdet_with_an_adapter_that_loads(name):
    import mmdet.models as models
    kind = getattr(models, name)
    assert family_of(kind) == name
    assert issubclass(load_adapter(kind), HeadAdapter)


def test_heads_without_an_adapter_have_none():
    assert load_adapter(ATSSVLFusionHead) is None
