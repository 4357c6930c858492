"""Finding transforms in a dataset, and loading a partner afresh through a transform's dataset."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from mmengine.logging import print_log
from torch.utils.data import get_worker_info

from ...common.shared_state import SharedState

__all__ = ['PartnerSource', 'parts']

_UNKNOWN = object()


def parts(node: Any, seen: dict[int, Any] | None = None) -> Iterator[Any]:
    """Every dataset, pipeline and transform below a node, through any nesting.

    Args:
        node: A dataset, a wrapper (``.dataset``, ``.datasets``), a transform or a list.
        seen: The objects met so far, by id.
    """
    seen = {} if seen is None else seen
    if node is None or isinstance(node, (str, bytes)) or id(node) in seen:
        return
    seen[id(node)] = node
    if isinstance(node, (list, tuple)):
        for item in node:
            yield from parts(item, seen)
        return
    yield node
    for name in ('dataset', 'datasets', 'pipeline', 'transforms'):
        yield from parts(getattr(node, name, None), seen)


class PartnerSource:
    """Loads samples of the dataset in whose pipeline a transform stands.

    In a DataLoader's worker process PyTorch tells the dataset; in the main process it is the
    one given to `attach`, if any.

    Args:
        shared: Where samples that fail to load are counted.
    """

    def __init__(self, shared: SharedState) -> None:
        self._shared = shared
        self._root: Any = None
        self._owner: Any = _UNKNOWN
        self._arrived: list[dict[str, Any]] | None = None
        self._told = False

    def attach(self, dataset: Any) -> None:
        """Names the dataset for use in this process."""
        self._root, self._owner = dataset, _UNKNOWN

    def owner(self, transform: Any) -> Any:
        """The dataset, or dataset wrapper, whose pipeline holds the transform; None if unknown."""
        if self._owner is _UNKNOWN:
            info = get_worker_info()
            root = self._root if info is None else info.dataset
            self._owner = next((node for node in parts(root) if _holds(node, transform)), None)
        return self._owner

    @property
    def loading(self) -> bool:
        """Whether the sample that is in the pipeline now is being loaded as a partner."""
        return self._arrived is not None

    def arrive(self, sample: dict[str, Any]) -> None:
        """Takes the partner, when it has come to the transform."""
        if self._arrived is not None:
            self._arrived.append(sample)

    def load(self, owner: Any, index: int) -> dict[str, Any] | None:
        """Loads a sample up to the transform; None if it fails, which is counted and logged.

        Args:
            owner: The dataset.
            index: Which sample of it.
        """
        arrived: list[dict[str, Any]] = []
        self._arrived = arrived
        try:
            owner[index]
        except Exception as error:  # a user's files and code may raise anything
            self._shared.count('failed_partners')
            if not self._told:
                self._told = True
                print_log(f'mixup: the partner {index} of {type(owner).__name__} failed to load '
                          f'and is skipped ({type(error).__name__}: {error}); further failures '
                          'of this process are only counted', 'current', logging.WARNING)
            return None
        finally:
            self._arrived = None
        return arrived[-1] if arrived else None


def _holds(node: Any, transform: Any) -> bool:
    """Whether a node can load samples, and a transform stands in its own pipeline."""
    if not (hasattr(node, '__getitem__') and hasattr(node, '__len__')):
        return False
    return any(part is transform for part in parts(getattr(node, 'pipeline', None)))
