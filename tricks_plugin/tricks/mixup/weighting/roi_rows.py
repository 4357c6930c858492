"""How RoI heads' adapters find their parts, the sampling results and the factors of loss rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch

__all__ = ['RoIRows', 'each', 'positive_weights', 'sampled']


class RoIRows(NamedTuple):
    """The factors of a box head's rows.

    Attributes:
        all: ``(num_rois,)``, in the order of the predictions; 1 for background.
        positives: ``(num_pos,)``, the positives' alone, in the same order.
    """

    all: torch.Tensor
    positives: torch.Tensor

    def fit(self, name: str, num_rows: int) -> torch.Tensor:
        """The factors of a loss with this many rows.

        Args:
            name: Of the loss.
            num_rows: RoIs, positives, or several rows for each RoI one after another (SABL's
                four sides).

        Raises:
            ValueError: If it is none of these.
        """
        if num_rows == len(self.all):
            return self.all
        if num_rows == len(self.positives):
            return self.positives
        if len(self.all) and num_rows % len(self.all) == 0:
            return self.all.repeat_interleave(num_rows // len(self.all))
        raise ValueError(
            f'MixUpWeightingHook: {name} must be called with a row per RoI ({len(self.all)}, or a '
            f'multiple) or per positive ({len(self.positives)}), got {num_rows} rows')


def each(part: Any) -> list[Any]:
    """An attribute that holds one object, a list or ModuleList of them, or None, as a list.

    Returns:
        Each object once, where stages share one.
    """
    parts: Iterable[Any] = part if isinstance(part, (list, tuple, torch.nn.ModuleList)) else [part]
    return list({id(item): item for item in parts if item is not None}.values())


def sampled(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sequence[Any]:
    """The sampling results among a method's arguments.

    Raises:
        ValueError: If there are none, or they do not come from the RoI head's own sampler.
    """
    for value in (kwargs.get('sampling_results'), *args):
        if isinstance(value, (list, tuple)) and value and hasattr(value[0], 'pos_inds'):
            if all(hasattr(result, 'mixup_weights') for result in value):
                return value
            break
    raise ValueError("MixUpWeightingHook: sampling_results must be a list of what the RoI head's "
                     'bbox_sampler.sample returned, got none or others')


def positive_weights(results: Sequence[Any]) -> torch.Tensor:
    """The weights of the boxes that the positives of all images belong to, ``(num_pos,)``."""
    return torch.cat([result.mixup_weights for result in results])
