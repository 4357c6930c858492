"""What a sample carries beside its image and boxes: known, declared, harmless, or refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ...common.values import counts, entries
from ...plan.errors import TrickError
from .forms import at, blend_maps, image_shape, is_image, join, leaves, put
from .sample import BOX_KEYS

__all__ = ['Extras', 'PER_BOX', 'advice', 'refusal']

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


# What mmdet's data sets give beside ``custom_entities`` under ``return_classes``: their classes.
_OF_THE_CLASSES = frozenset(('text', 'stuff_text', 'caption_prompt'))


def advice(*keys: str, image: bool = False, packed: bool = False) -> str:
    """What a user can declare of values, as options of the trick.

    Args:
        keys: Their names.
        image: Whether they are further images.
        packed: Whether the packing takes them along box by box, so that they must be joined.
    """
    names, it = repr(list(keys)), 'it' if len(keys) == 1 else 'them'
    first = f"tricks.mixup.images={names} blends {it} with the partner's" if image else \
        f"tricks.mixup.per_box={names} joins {it} with the partner's, one entry per box"
    return first if packed else f"{first}; tricks.mixup.ignore={names} leaves the first image's"


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

    @property
    def allowed(self) -> tuple[str, ...]:
        """Keys that may be there although they are refused elsewhere; see `sample.check`."""
        return (*self.per_box, *self.ignore)

    def check(self, results: Mapping[str, Any], refuse: bool = True) -> dict[str, int]:
        """Looks at what nobody has declared.

        Args:
            results: A sample.
            refuse: Whether what may be per box is an error at once; otherwise it is returned, for
                the next samples to tell.

        Returns:
            What may be per box: the number of boxes, by key.

        Raises:
            TrickError: If the sample carries another image, or under ``refuse`` a value that may
                be one per box, or if a declared value is not what it was declared.
        """
        boxes, shape = len(results['gt_bboxes']), tuple(results['img'].shape[:2])
        self._check_declared(results, boxes, shape)
        suspects, settled = {}, self._settled
        if results.get('custom_entities') is True:
            settled |= _OF_THE_CLASSES
        for key in results:
            for path, value in leaves(key, results[key], settled):
                found = image_shape(value, shape, boxes)
                if found:
                    raise TrickError(_other_image(path, value, found, shape, boxes))
                lengths = counts(value)
                if boxes in lengths and boxes:
                    suspects[path] = boxes
                elif lengths and boxes:
                    self.harmless.add(path)
        if refuse and suspects:
            raise TrickError(refusal(suspects))
        return suspects

    @property
    def _settled(self) -> frozenset[str]:
        return _OF_ONE_IMAGE.union(BOX_KEYS, self.joined, self.images, self.ignore, self.harmless)

    def _check_declared(self, results: Mapping[str, Any], boxes: int,
                        shape: tuple[int, ...]) -> None:
        for key in self.joined:
            value = at(results, key)
            if value is not None and entries(value) != boxes:
                raise TrickError(f'tricks.mixup.per_box: {key} must have one entry for each of '
                                 f'the {boxes} boxes, got {entries(value)}')
        for key in self.images:
            value = at(results, key)
            if value is not None and not is_image(value, shape):
                raise TrickError(
                    f"tricks.mixup.images: {key} must be an array of the image's height and width "
                    f'({shape[0]} x {shape[1]}), got {_described(value)}')

    def kept(self, results: Mapping[str, Any]) -> dict[str, Any]:
        """What a partner must keep of a sample, by the declared names."""
        found = {key: at(results, key) for key in (*self.joined, *self.images)}
        return {key: value for key, value in found.items() if value is not None}

    def mix(self, results: dict[str, Any], partner: Mapping[str, Any], lam: float,
            boxes: tuple[int, int], shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
        """Joins and blends what was declared, in place.

        Args:
            results: The first sample.
            partner: The second, as it was kept.
            lam: The share of the first.
            boxes: How many each has.
            shapes: (h, w) of each image, before they were mixed.

        Raises:
            TrickError: If one of the two lacks a value that the other has.
        """
        canvas = tuple(results['img'].shape[:2])
        for key in self.joined:
            sides = list(zip((at(results, key), at(partner, key)), boxes, shapes, strict=True))
            given = [(value, shape) for value, count, shape in sides
                     if value is not None and (count or entries(value))]
            if given and any(value is None and count for value, count, _ in sides):
                raise TrickError(f'tricks.mixup.per_box: {key} is missing in one of two samples '
                                 'with boxes')
            if given:
                values, sizes = zip(*given, strict=True)
                put(results, key, join(values, sizes, canvas))
        for key in self.images:
            sides = [at(results, key), at(partner, key)]
            if sides[0] is None and sides[1] is None:
                continue
            if sides[0] is None or sides[1] is None:
                raise TrickError(f'tricks.mixup.images: {key} is missing in one of two samples')
            put(results, key, blend_maps(sides[0], sides[1], lam, canvas))


def refusal(suspects: Mapping[str, int]) -> str:
    """What is said of values that may be per box.

    Args:
        suspects: The number of boxes of a sample that has as many entries, by key.
    """
    has, it = ('has', 'it') if len(suspects) == 1 else ('have', 'them')
    return (f"tricks.mixup: {', '.join(suspects)} {has} one entry per box "
            f"({next(iter(suspects.values()))}), and it is not known how to mix {it}; "
            f'{advice(*suspects)}')


def _other_image(key: str, value: Any, found: tuple[int, ...], shape: tuple[int, ...],
                 boxes: int) -> str:
    """What is said of another image or map in a sample."""
    own = f'{shape[0]} x {shape[1]}'
    if found == shape and is_image(value, shape):
        per_box = f"; tricks.mixup.per_box=['{key}'] joins it, one map per box" \
            if boxes and entries(value) == boxes else ''
        return (f"tricks.mixup: {key} has the image's height and width ({own}), and it is not "
                f'known how to mix it; {advice(key, image=True)}{per_box}')
    return (f'tricks.mixup: {key} ({type(value).__name__}) is {found[0]} x {found[1]}, as an image '
            f'or a map would be, beside the image of {own}, and it is not known how to mix it; '
            f"as an array of the image's height and width tricks.mixup.images=['{key}'] would "
            f"blend it; tricks.mixup.ignore=['{key}'] leaves the first image's")


def _described(value: Any) -> str:
    shape = getattr(value, 'shape', None)
    return type(value).__name__ if shape is None else f'shape {tuple(shape)}'
