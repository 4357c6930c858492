"""A transform around a transform, with a switch that all worker processes see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mmcv.transforms import BaseTransform, Compose
from mmengine.registry import TRANSFORMS

from ...common.shared_state import SharedState, Switchable

__all__ = ['Switched']


@TRANSFORMS.register_module()
class Switched(Switchable, BaseTransform):
    """A step of a pipeline that can be switched off, at once in every worker process.

    `ClosingHook` turns the switch by the clock of the training. Inside mmdet's
    MultiImageMixDataset a step that asks for partners (``get_indexes``) asks for them only while
    it is on, so that none are loaded in vain.

    Args:
        transform: The step, as in a pipeline.
        instead: Steps that stand in for it while it is off; none by default. They keep what later
            steps rely on, such as the size of the images.

    Example:
        In a config, a mosaic that gives way to a plain resize::

            dict(type='tricks_plugin.Switched',
                 transform=dict(type='CachedMosaic', img_scale=(640, 640)),
                 instead=[dict(type='mmdet.Resize', scale=(640, 640), keep_ratio=True)])
    """

    counts = ('applied', 'skipped')

    def __init__(self, transform: dict[str, Any] | Callable[[dict], dict | None],
                 instead: Sequence[Any] = ()) -> None:
        self.inner: Any = \
            TRANSFORMS.build(transform) if isinstance(transform, dict) else transform
        self.instead = Compose(list(instead)) if instead else None
        self.shared = SharedState(self.counts)

    @property
    def get_indexes(self) -> Callable[..., Any]:
        """The step's own, while it is on; otherwise there is none, as `hasattr` tells."""
        if not self.enabled:
            raise AttributeError(f'{type(self.inner).__name__} is switched off')
        return self.inner.get_indexes

    def transform(self, results: dict[str, Any]) -> dict[str, Any] | None:
        """Applies the step, or what stands in for it.

        Args:
            results: A sample on its way through the pipeline.
        """
        if self.enabled:
            self.shared.count('applied')
            return self.inner(results)
        self.shared.count('skipped')
        return results if self.instead is None else self.instead(results)

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.inner!r}, instead={self.instead!r})'
