"""The batch augment that gives a whole batch one random shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.registry import MODELS
from torch import Tensor, nn

from .content import Shape, contents_of, extent
from .fields import Fields
from .functional import (
    MIN_SIZE,
    SIDES,
    draw_size,
    padded_shape,
    resize_contents,
    scaled_length,
    training_sizes,
)
from .samples import Padding, Refit

__all__ = ['BatchRandomShapes']


@MODELS.register_module()
class BatchRandomShapes(nn.Module):
    """Resizes each training batch, and all that its data samples hold, to one random shape.

    The shape follows from the seed and the iteration alone, which `BatchRandomShapesHook` hands
    over (``custom_hooks=[dict(type='tricks_plugin.BatchRandomShapesHook')]``); without the hook
    the first batch raises. Stands in ``model.data_preprocessor.batch_augments``.

    Every image, without its padding, takes the ratio of the drawn size to ``base``, so that its
    aspect stays; the batch is then padded to multiples of ``divisor``, as in a test. In the clean
    tail, which the hook tells, every batch has the size ``home``. Boxes, masks, maps of pixels
    (nearest) and ``scale_factor`` take the factors of their image, new side through old side, of
    which sides are whole px; ``img_shape`` is the image's, ``pad_shape`` with its padding,
    ``batch_input_shape`` the batch's. ``ori_shape`` is left alone.

    Args:
        base: The short side (or the long one, see ``side``), in px, of what the pipeline
            delivers: this size leaves images as they are.
        sizes: Such sides to draw from, in px, multiples of ``divisor`` but for ``base`` and
            ``home``. Either this or ``ratio_range``.
        ratio_range: ``(low, high)`` as shares of ``base``; stands for every multiple in it.
        divisor: What the sides of every batch become multiples of.
        interval: Iterations between two draws.
        seed: Overrides the run's seed.
        home: The size at which the model will be tested: drawn more often, and the one of the
            tail. None draws all alike, and has the tail at ``base``.
        share: Share of the draws at ``home``, in [0, 1), if it is one of the sizes; 0 draws it as
            often as any.
        side: Which side sizes are: ``'short'``, or ``'long'`` where a resize fits each image into
            a square, so that long sides are equal and short ones are not. Either takes one ratio.
        points: Names of further values that hold x, y in px, see `fields.Fields`.
        lengths: Names of further values that are lengths in px.
        ignore: Names of further values that stay as they are.
        pad_value: What images are padded with, as by the data preprocessor: after normalization.
        mask_pad_value: The same of instance masks.
        seg_pad_value: The same of maps of pixels that hold whole numbers.

    Raises:
        ValueError: If an argument is out of its bounds.
        TrickError: From a batch, if a data sample holds what is neither known nor declared.

    Source: arXiv 1902.04103 section 3.6; gluon-cv ``RandomTransformDataLoader``, at the authors'
    interval of 10, draws in each process by itself and transforms the raw images.
    """

    def __init__(self, base: int, sizes: Sequence[int] | None = None,
                 ratio_range: Sequence[float] | None = None, divisor: int = 32,
                 interval: int = 10, seed: int | None = None, points: Sequence[str] = (),
                 lengths: Sequence[str] = (), ignore: Sequence[str] = (),
                 home: int | None = None, share: float = 0.5, side: str = 'short',
                 pad_value: float = 0.0, mask_pad_value: int = 0,
                 seg_pad_value: int = 255) -> None:
        super().__init__()
        if (sizes is None) == (ratio_range is None):
            raise ValueError('either sizes or ratio_range must be given, '
                             f'got {sizes!r} and {ratio_range!r}')
        if not 0 <= share < 1:
            raise ValueError(f'share must be in [0, 1), got {share!r}')
        if side not in SIDES:
            raise ValueError(f'side must be one of {SIDES}, got {side!r}')
        for name, value in (('base', base), ('divisor', divisor), ('interval', interval),
                            ('home', home)):
            if value is not None and value < 1:
                raise ValueError(f'{name} must be >= 1, got {value!r}')
        if ratio_range is not None:
            sizes = training_sizes(base, ratio_range, divisor)
        self.sizes = sorted(set(sizes or ()))
        wrong = [size for size in self.sizes
                 if size < MIN_SIZE or (size % divisor and size not in (base, home))]
        if wrong or not self.sizes:
            raise ValueError(f'sizes must be multiples of divisor ({divisor}), {MIN_SIZE} or '
                             f'more, got {wrong or sizes!r}')
        self.base = base
        self.home = home
        self.share = share
        self.side = side
        self.divisor = divisor
        self.interval = interval
        self.seed = seed
        self.fields = Fields(tuple(points), tuple(lengths), tuple(ignore))
        self.padding = Padding(pad_value, mask_pad_value, seg_pad_value)
        self.size: int | None = None

    def reach(self, ends: bool) -> list[int]:
        """The sizes of a training, ascending: those that are drawn, and the tail's if it ends."""
        clean = self.base if self.home is None else self.home
        return sorted({*self.sizes, clean} if ends else self.sizes)

    def set_iteration(self, iteration: int, seed: int, tail: bool = False,
                      ends: bool = False) -> None:
        """Draws the size of an iteration.

        Args:
            iteration: Counted from 0 over the whole training.
            seed: The run's seed, equal on all ranks.
            tail: Whether it lies in the clean tail, where nothing is drawn.
            ends: Whether the training has such a tail. In the first interval the size is the
                largest of all, that of the tail among them.
        """
        if tail:
            self.size = self.base if self.home is None else self.home
            return
        seed = seed if self.seed is None else self.seed
        home = self.home if self.home in self.sizes else None
        self.size = draw_size(seed, iteration, self.sizes, self.interval, home, self.share) \
            if iteration >= self.interval else self.reach(ends)[-1]

    def forward(self, inputs: Tensor, data_samples: list[Any] | None,
                ) -> tuple[Tensor, list[Any] | None]:
        """Resizes a batch.

        Args:
            inputs: ``(n, channels, h, w)``, floating point. Not changed.
            data_samples: One DetDataSample per image, boxes in px of the padded image. Not
                changed.

        Returns:
            The resized images and new data samples; both as they came if the shape stays.

        Raises:
            RuntimeError: If no hook has said which iteration this is.
        """
        if self.size is None:
            raise RuntimeError('BatchRandomShapes was not told the iteration: add '
                               "custom_hooks=[dict(type='tricks_plugin.BatchRandomShapesHook')]")
        old = (int(inputs.shape[-2]), int(inputs.shape[-1]))
        self.fields.check(data_samples or ())
        size = self.size
        if size == self.base and not any(side % self.divisor for side in old):
            return inputs, data_samples
        contents = contents_of(data_samples, old) if data_samples else [old] * len(inputs)
        if not contents:
            return inputs, data_samples
        new = self.shape_of(extent(contents, old, self.divisor), size)
        goals = [self._resized(content, size) for content in contents]
        if new == old and goals == contents:
            return inputs, data_samples
        inputs = resize_contents(inputs, contents, goals, new, self.padding.image)
        if data_samples:
            data_samples = [
                Refit(old, new, content, goal, self.divisor, self.padding, self.fields).sample(one)
                for one, content, goal in zip(data_samples, contents, goals, strict=True)]
        return inputs, data_samples

    def _resized(self, shape: Shape, size: int) -> Shape:
        height, width = (max(scaled_length(length, self.base, size), 1) for length in shape)
        return height, width

    def shape_of(self, shape: Shape, size: int) -> Shape:
        """What batches become whose largest sides (h, w) without padding are these, at a size."""
        return padded_shape(shape, size, self.base, self.divisor)

    def extra_repr(self) -> str:
        """The settings, for the model's printout."""
        return (f'sizes={self.sizes}, base={self.base}, divisor={self.divisor}, '
                f'interval={self.interval}, home={self.home}, share={self.share:g}, '
                f'side={self.side!r}')
