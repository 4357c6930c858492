"""Training samples of a config as its model gets them, loaded in this process to be looked at."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from mmengine.registry import DATASETS, MODELS, init_default_scope

from ..plan.errors import TrickError
from .config_edit import copy_plain, default_scope, get, plain, type_name
from .sample_times import holders

__all__ = ['Sample', 'TrainingSamples', 'as_rgb', 'chosen']


@dataclasses.dataclass(frozen=True)
class Sample:
    """One training sample.

    Attributes:
        index: Its number in the dataset.
        path: Of its image; empty where the sample does not say.
        image: uint8 RGB, ``(h, w, 3)``.
        data: mmdet's DetDataSample, boxes in px of ``image``.
        weights: Of each box, ``(n,)``; None where the sample has none.
        notes: What the picture does not show, in words.
        batch: What a batch-level trick makes of it, in words; empty without one.
    """

    index: int
    path: str
    image: np.ndarray
    data: Any
    weights: np.ndarray | None
    notes: tuple[str, ...] = ()
    batch: str = ''

    @property
    def boxes(self) -> np.ndarray:
        """Corners x1, y1, x2, y2 in px, ``(n, 4)``; empty where there are none."""
        boxes = self.data.gt_instances.get('bboxes')
        return np.zeros((0, 4), np.float32) if boxes is None else boxes.numpy()

    @property
    def labels(self) -> list[int]:
        """Class numbers, ``(n,)``."""
        labels = self.data.gt_instances.get('labels')
        return [] if labels is None else labels.tolist()


def chosen(length: int, count: int, seed: int) -> list[int]:
    """Which samples of a dataset to show: drawn without repetition, in rising order.

    Raises:
        TrickError: If there are fewer than asked for.
    """
    if count > length:
        raise TrickError(f'--samples must be <= the {length} training samples, got {count}')
    draw = np.random.default_rng([seed, length])
    return sorted(draw.choice(length, count, replace=False).tolist())


class TrainingSamples:
    """The training dataset of a config, with its whole pipeline and its batch-level tricks.

    The same index and seed give a pipeline the same draws, so a transform that a trick appends
    leaves what comes before it as it is without the trick.

    Args:
        cfg: A Config without ``tricks``.
        label: What to call it in messages.
        seed: Of every draw.

    Raises:
        TrickError: If there is no training dataset, or it cannot be built.
    """

    def __init__(self, cfg: Any, label: str, seed: int) -> None:
        tree = plain(cfg)
        node = get(tree, 'train_dataloader.dataset')
        if not isinstance(node, dict):
            raise TrickError(f'{label} has no train_dataloader with a dataset')
        self.label, self.seed = label, seed
        init_default_scope(default_scope(tree))
        try:
            self.dataset = DATASETS.build(copy_plain(node))
            if hasattr(self.dataset, 'full_init'):
                self.dataset.full_init()
            self.length = len(self.dataset)
        except Exception as error:  # a dataset is a program: building it may raise anything
            raise TrickError(f'cannot build the training data of {label}: {_one_line(error)}'
                             ) from error
        for step in _steps(self.dataset):
            if callable(getattr(step, 'attach', None)):
                step.attach(self.dataset)  # where partners are loaded from; hooks do it in a run
        self._rgb = bool(get(tree, 'model.data_preprocessor.rgb_to_bgr'))
        self._divisor = get(tree, 'model.data_preprocessor.pad_size_divisor') or 1
        self._augments, self._unseen = _batch_augments(tree)

    @property
    def metainfo(self) -> dict[str, Any]:
        """The dataset's: ``classes``, ``palette``."""
        return dict(getattr(self.dataset, 'metainfo', None) or {})

    def load(self, index: int, number: int) -> Sample:
        """A sample with everything done to it that training does before normalising.

        Args:
            index: Of the dataset.
            number: The sample's place in the sheet; a batch-level trick that draws anew every few
                iterations shows its draw of this number.

        Raises:
            TrickError: If it cannot be loaded, or is no packed sample of mmdet's.
        """
        self._seed_everything(index)
        try:
            packed = self.dataset[index]
        except Exception as error:  # files and other people's transforms may raise anything
            raise TrickError(f'cannot load training sample {index} of {self.label}: '
                             f'{_one_line(error)}') from error
        inputs, data = self._unpacked(packed, index)
        notes = [f'{len(ignored)} ignored boxes not drawn'
                 for ignored in [data.get('ignored_instances')]
                 if ignored is not None and len(ignored)]
        for name, words in (('gt_sem_seg', 'semantic map'), ('gt_panoptic_seg', 'panoptic map')):
            if name in data:
                notes.append(f'{words} not drawn')
        if 'keypoints' in data.gt_instances:
            notes.append('keypoints not drawn')
        notes += self._unseen
        inputs, data, batch = self._augmented(inputs, data, number)
        image, stretched = as_rgb(inputs, self._rgb)
        notes += ['normalised in the pipeline, so stretched to be seen'] if stretched else []
        weights = next((value for key, value in data.gt_instances.items()
                        if key.endswith('weights')), None)
        return Sample(index, str(data.metainfo.get('img_path') or ''), image, data,
                      None if weights is None else np.asarray(weights, np.float32),
                      tuple(notes), batch)

    def _seed_everything(self, index: int) -> None:
        word = int(np.random.SeedSequence([self.seed, index]).generate_state(1)[0])
        random.seed(word)
        np.random.seed(word)
        torch.manual_seed(word)

    def _unpacked(self, packed: Any, index: int) -> tuple[torch.Tensor, Any]:
        """The image and the data sample, with boxes as a tensor ``(n, 4)``."""
        inputs = packed.get('inputs') if isinstance(packed, dict) else None
        data = packed.get('data_samples') if isinstance(packed, dict) else None
        if not isinstance(inputs, torch.Tensor) or inputs.ndim != 3 or data is None \
                or 'gt_instances' not in data:
            raise TrickError(
                f'sample {index} of {self.label} is no packed sample of detection: inputs must be '
                'an image (channels, h, w) and data_samples have gt_instances, got '
                f'{type(inputs).__name__} and {type(data).__name__}')
        data = data.clone()
        boxes = data.gt_instances.get('bboxes')
        if boxes is not None and not isinstance(boxes, torch.Tensor):
            boxes = boxes.convert_to('hbox') if boxes.tensor.shape[-1] != 4 else boxes
            data.gt_instances.bboxes = boxes.tensor
        return inputs, data

    def _augmented(self, inputs: torch.Tensor, data: Any, number: int,
                   ) -> tuple[torch.Tensor, Any, str]:
        """The sample in the shape that its batch would have, were it alone in it."""
        words = ''
        for augment in self._augments:
            h, w = (-(-side // self._divisor) * self._divisor for side in inputs.shape[1:])
            batch = inputs.new_zeros((1, len(inputs), h, w)).float()
            batch[0, :, :inputs.shape[1], :inputs.shape[2]] = inputs
            iteration = number * augment.interval
            augment.set_iteration(iteration, self.seed)
            resized, (data,) = augment(batch, [data])
            new = tuple(resized.shape[-2:])
            words = f'{type(augment).__name__} in iteration {iteration}: batch of {w} x {h} px ' \
                f'becomes {new[1]} x {new[0]}'
            # The padding of the batch is no part of the picture.
            size = data.metainfo.get('img_shape') or [
                round(length * after / before) for length, after, before in zip(
                    inputs.shape[1:], new, (h, w), strict=True)]
            inputs = resized[0, :, :size[0], :size[1]]
        return inputs, data, words


def _steps(dataset: Any) -> Iterator[Any]:
    """The transforms of every pipeline, through wrappers of datasets."""
    for holder in holders(dataset):
        pipeline = holder.pipeline
        yield from getattr(pipeline, 'transforms', pipeline)


def _batch_augments(tree: dict[str, Any]) -> tuple[list[Any], list[str]]:
    """The batch augments that draw from an iteration, and a clause on the others."""
    found, others = [], []
    for node in get(tree, 'model.data_preprocessor.batch_augments') or ():
        try:
            module = MODELS.build(copy_plain(node))
        except Exception:  # what another package's needs is not known here
            module = None
        if all(hasattr(module, name) for name in ('set_iteration', 'interval')):
            found.append(module)
        else:
            others.append(type_name(node))
    return found, [f'{name} of the batch not drawn' for name in others]


def as_rgb(inputs: torch.Tensor, is_rgb: bool) -> tuple[np.ndarray, bool]:
    """An image as uint8 ``(h, w, 3)``, and whether its values had to be stretched."""
    image = np.ascontiguousarray(inputs.numpy().transpose(1, 2, 0))
    if image.shape[2] != 3:
        image = np.repeat(image[..., :1], 3, 2)
    elif not is_rgb:
        image = image[..., ::-1]
    low, high = float(image.min()), float(image.max())
    # Colour jitter leaves 0 to 255 by a little; means taken off leave it by much.
    stretched = image.dtype.kind == 'f' and (low < -60 or high <= 10)
    if stretched:
        image = (image - low) * (255 / max(high - low, 1e-6))
    return np.ascontiguousarray(np.rint(image).clip(0, 255).astype(np.uint8)), stretched


def _one_line(error: BaseException) -> str:
    return f'{type(error).__name__}: {" ".join(str(error).split())}'
