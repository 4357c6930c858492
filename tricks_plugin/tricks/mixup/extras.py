"""What a sample carries beside its image and boxes: known, declared, harmless, or refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ...plan.errors import TrickError
from .functional import blend
from .sample import BOX_KEYS, blendable

__all__ = ['Extras', 'PER_BOX', 'advice']

PER_BOX = ('gt_instances_ids',)
"""Values per box of mmdet's own, beside those of `BOX_KEYS`, that are joined unasked."""

# Of one image by their meaning, whatever their length; or raw annotations that are not packed.
_OF_ONE_IMAGE = frozenset((
    'img', 'img_path', 'img_id', 'sample_idx', 'height', 'width', 'ori_shape', 'img_shape',
    'pad_shape', 'scale', 'scale_factor', 'scale_idx', 'keep_ratio', 'flip', 'flip_direction',
    'homography_matrix', 'border', 'pad_fixed_size', 'pad_size_divisor', 'img_norm_cfg',
    'img_fields', 'bbox_fields', 'batch_input_shape', 'crop_size', 'seg_map_path', 'proposals',
    'proposals_scores', 'mix_results', 'instances', 'idx_mapper', 'ignore_index', 'dataset_mode',
))


def advice(key: str, image: bool = False) -> str:
    """What a user can declare of a value, as options of the trick."""
    first = f"tricks.mixup.images=['{key}'] blends it with the partner's" if image else \
        f"tricks.mixup.per_box=['{key}'] joins it with the partner's, one entry per box"
    return f"{first}; tricks.mixup.ignore=['{key}'] leaves the first image's"


@dataclasses.dataclass
class Extras:
    """The values of a sample that the user has declared, and those that nobody has.

    A value that has as many entries as the sample has boxes may be one per box, or be so by
    chance. The number of entries of other samples tells: once they differ from the boxes', the
    value is one of the image. Until then it is refused.

    Args:
        per_box: Values with one entry per box, joined.
        images: Arrays of the image's height and width, blended.
        ignore: Values that stay the first image's.
    """

    per_box: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    harmless: set[str] = dataclasses.field(default_factory=set)

    @property
    def joined(self) -> tuple[str, ...]:
        """All that is joined box by box."""
        return (*self.per_box, *(key for key in PER_BOX if key not in self.ignore))

    def check(self, results: Mapping[str, Any], refuse: bool = True) -> dict[str, str]:
        """Looks at what nobody has declared.

        Args:
            results: A sample.
            refuse: Whether what may be per box is an error at once; otherwise it is returned, for
                the next samples to tell.

        Returns:
            The reason by key.

        Raises:
            TrickError: If the sample carries another image, or under ``refuse`` a value that may
                be one per box, or if a declared value is not what it was declared.
        """
        boxes, shape = len(results['gt_bboxes']), tuple(results['img'].shape[:2])
        self._check_declared(results, boxes, shape)
        suspects = {}
        for key, value in results.items():
            if key in self._settled:
                continue
            if _is_image(value, shape):
                raise TrickError(
                    f"tricks.mixup: {key} has the image's height and width ({shape[0]} x "
                    f'{shape[1]}), and it is not known how to mix it; {advice(key, image=True)}')
            count = _entries(value)
            if count is None:
                continue
            if count != boxes:
                self.harmless.add(key)
            elif boxes:
                suspects[key] = (f'tricks.mixup: {key} has one entry per box ({boxes}), and it is '
                                 f'not known how to mix it; {advice(key)}')
        if refuse and suspects:
            raise TrickError(next(iter(suspects.values())))
        return suspects

    @property
    def _settled(self) -> frozenset[str]:
        return _OF_ONE_IMAGE.union(BOX_KEYS, self.joined, self.images, self.ignore, self.harmless)

    def _check_declared(self, results: Mapping[str, Any], boxes: int,
                        shape: tuple[int, ...]) -> None:
        for key in self.joined:
            value = results.get(key)
            if value is not None and _entries(value) != boxes:
                raise TrickError(f'tricks.mixup.per_box: {key} must have one entry for each of '
                                 f'the {boxes} boxes, got {_entries(value)}')
        for key in self.images:
            value = results.get(key)
            if value is not None and not _is_image(value, shape):
                raise TrickError(
                    f"tricks.mixup.images: {key} must have the image's height and width "
                    f'({shape[0]} x {shape[1]}), got shape {tuple(getattr(value, "shape", ()))}')

    def kept(self, results: Mapping[str, Any]) -> dict[str, Any]:
        """What a partner must keep of a sample."""
        return {key: results[key] for key in (*self.joined, *self.images)
                if results.get(key) is not None}

    def mix(self, results: dict[str, Any], partner: Mapping[str, Any], lam: float,
            counts: tuple[int, int]) -> None:
        """Joins and blends what was declared, in place.

        Args:
            results: The first sample.
            partner: The second.
            lam: The share of the first.
            counts: The boxes of each.

        Raises:
            TrickError: If one of the two lacks a value that the other has.
        """
        for key in self.joined:
            sides = [results.get(key), partner.get(key)]
            sides = [None if side is not None and not count and not len(side) else side
                     for side, count in zip(sides, counts, strict=True)]
            given = [side for side in sides if side is not None]
            if any(side is None and count for side, count in zip(sides, counts, strict=True)):
                if given or results.get(key) is not None:
                    raise TrickError(f'tricks.mixup.per_box: {key} is missing in one of two '
                                     'samples with boxes')
            elif given:
                results[key] = given[0] if len(given) == 1 else _join(given[0], given[1])
        for key in self.images:
            sides = [results.get(key), partner.get(key)]
            if sides[0] is None and sides[1] is None:
                continue
            if sides[0] is None or sides[1] is None:
                raise TrickError(f'tricks.mixup.images: {key} is missing in one of two samples')
            results[key] = _blend(sides[0], sides[1], lam, tuple(results['img'].shape[:2]))


def _entries(value: Any) -> int | None:
    """How many entries a value has, or None if it is no sequence."""
    if value is None or isinstance(value, (str, bytes, Mapping)):
        if isinstance(value, Mapping) and value:
            counts = {_entries(item) for item in value.values()}
            return counts.pop() if len(counts) == 1 else None
        return None
    if isinstance(value, (np.ndarray, torch.Tensor)):
        return int(value.shape[0]) if value.ndim else None
    try:
        return len(value)
    except TypeError:
        return None


def _is_image(value: Any, shape: tuple[int, ...]) -> bool:
    """Whether a value is an array of an image's height and width, channels last or first."""
    own = tuple(getattr(value, 'shape', ()) or ())
    return isinstance(value, (np.ndarray, torch.Tensor)) and len(own) >= 2 and (
        own[:2] == shape or own[-2:] == shape)


def _join(first: Any, second: Any) -> Any:
    """Two images' values, one after the other, in the form of the first."""
    if isinstance(first, np.ndarray):
        return np.concatenate([first, np.asarray(second)])
    if isinstance(first, torch.Tensor):
        return torch.cat([first, torch.as_tensor(second, device=first.device)])
    if isinstance(first, Mapping):
        return {key: _join(value, second[key]) for key, value in first.items()}
    if hasattr(type(first), 'cat'):
        return type(first).cat([first, second])
    return type(first)([*first, *second])


def _blend(first: Any, second: Any, lam: float, canvas: tuple[int, ...]) -> Any:
    """Two images' maps blended as the images are, on zeros; in the form of the first."""
    sides = [side.numpy() if isinstance(side, torch.Tensor) else side for side in (first, second)]
    last = sides[0].ndim > 2 and _fits_first(sides, canvas)
    if last:
        sides = [np.moveaxis(side, (-2, -1), (0, 1)) for side in sides]
    sides = [np.ascontiguousarray(blendable(side)) for side in sides]
    mixed = blend(sides[0], sides[1], lam)
    if last:
        mixed = np.ascontiguousarray(np.moveaxis(mixed, (0, 1), (-2, -1)))
    return torch.from_numpy(mixed) if isinstance(first, torch.Tensor) else mixed


def _fits_first(sides: list[Any], canvas: tuple[int, ...]) -> bool:
    """Whether channels come first: then the last two axes span the canvas together."""
    first = tuple(max(side.shape[axis] for side in sides) for axis in (0, 1))
    return first != canvas
