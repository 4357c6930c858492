"""Loading a partner afresh through the dataset in whose pipeline a transform stands."""

from __future__ import annotations

import copy
import logging
import random
from collections.abc import Generator
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from torch.utils.data import get_worker_info

from ...common.shared_state import SharedState
from ...mm.parts import parts
from ...plan.errors import TrickError

__all__ = ['PartnerSource', 'tried']

_TRIED = 8
_UNKNOWN = object()


def tried(dataset: Any, transform: Any) -> Generator[dict[str, Any], None, None]:
    """Samples with boxes as they come to a transform, loaded in this process to look at them.

    They pass a copy of the pipeline, and the global random generators are put back afterwards, so
    the training is what it would have been without.

    Args:
        dataset: The whole training dataset.
        transform: A `GeometryPreservingMixUp`.

    Yields:
        At most eight, from all over the dataset; fewer where some fail to load.
    """
    owner = next((node for node in parts(dataset) if _holds(node, transform)), None)
    if owner is None or not len(owner):
        return
    memo: dict[int, Any] = {}
    pipeline = owner.pipeline
    try:
        copied = copy.deepcopy(pipeline, memo)
    except Exception:  # a user's transform may hold what cannot be copied
        return
    source = memo[id(transform)]._source
    source.trying = True
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    owner.pipeline = copied
    try:
        for index in np.linspace(0, len(owner) - 1, min(len(owner), _TRIED)).astype(int):
            results = source.load(owner, int(index), quiet=True)
            if results is not None and len(results['gt_bboxes']):
                yield results
    finally:
        owner.pipeline = pipeline
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


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
        self.trying = False

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

    def load(self, owner: Any, index: int, quiet: bool = False) -> dict[str, Any] | None:
        """Loads a sample up to the transform; None if it fails, which is counted and logged.

        Args:
            owner: The dataset.
            index: Which sample of it.
            quiet: Neither counts nor logs a failure.
        """
        arrived: list[dict[str, Any]] = []
        self._arrived = arrived
        try:
            owner[index]
        except Exception as error:  # a user's files and code may raise anything
            if quiet:
                return None
            if isinstance(error, TrickError):
                raise
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
