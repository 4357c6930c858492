"""One random shape per batch for single-stage detectors (arXiv 1902.04103 section 3.6)."""

from __future__ import annotations

import dataclasses
import math

from ...plan import TRICKS, Params, RunFacts, Trick, bounded
from ...plan.errors import TrickError

__all__ = ['MIN_SIZE', 'RandomShapes', 'RandomShapesParams', 'check_sizes']

COMPONENTS = {'BatchRandomShapes': 'batch_augment', 'BatchRandomShapesHook': 'hook',
              'ClassifierShapesHook': 'class_hook'}
MIN_SIZE = 64  # px; two cells of a stride-32 feature map
# For detectors, see When it pays in the README.
MIN_UPDATES = 2000  # a choice: 1120 lose (here), 50,000 gain (published), none between
MIN_SCALE = 320  # px, the paper's smallest; 128 and 192 px lose (here)


@dataclasses.dataclass(frozen=True)
class RandomShapesParams(Params):
    """Parameters of `random_shapes`."""

    ratio_range: tuple[float, ...] | None = bounded(
        None, '(low, high), as shares of the scale at which the config tests')
    sizes: tuple[int, ...] | None = bounded(
        None, 'the sizes to draw from, in px, instead of a range')
    test_share: float = bounded(0.5, 'share of the draws at the test scale; 0: as often as any '
                                'other', ge=0, lt=1)
    off_fraction: float | None = bounded(
        None, 'last part of the training at the test scale; default 0.1', ge=0, lt=1)
    off_epochs: int | None = bounded(None, 'the same in epochs, instead', ge=0)
    divisor: int = bounded(32, 'what the sides of every batch are multiples of', ge=1)
    interval: int = bounded(10, 'iterations between two draws', ge=1)
    two_stage: bool = bounded(False, 'also for two-stage and query-based detectors')
    replace: bool = bounded(False, "take out mmdet's BatchSyncRandomResize and put this one in")
    points: tuple[str, ...] | None = bounded(
        None, 'values of your own per box that hold x, y in px: scaled as the boxes are')
    lengths: tuple[str, ...] | None = bounded(
        None, 'values of your own per box that are lengths in px: scaled by the mean factor')
    ignore: tuple[str, ...] | None = bounded(
        None, 'values of your own that no size changes')

    def check(self, path: str) -> None:
        """Refuses what no config could use."""
        if self.off_fraction is not None and self.off_epochs is not None:
            raise TrickError(f'{path}: give off_fraction or off_epochs, not both, got '
                             f'{self.off_fraction!r} and {self.off_epochs!r}')
        if self.ratio_range is not None and self.sizes is not None:
            raise TrickError(f'{path}: give ratio_range or sizes, not both, got '
                             f'{self.ratio_range!r} and {self.sizes!r}')
        if self.ratio_range is not None:
            low, high = self.ratio_range if len(self.ratio_range) == 2 else (0, 0)
            if not 0 < low < high < math.inf:
                raise TrickError(f'{path}.ratio_range must be (low, high) with 0 < low < high, '
                                 f'got {self.ratio_range!r}')
        if self.sizes is not None:
            check_sizes(self.sizes, self.divisor, path)


def check_sizes(sizes: tuple[int, ...], divisor: int, path: str, why: str = '') -> None:
    """Refuses sizes that no batch can have.

    Args:
        sizes: Short sides in px.
        divisor: What they must be multiples of.
        path: Of the trick in the config.
        why: Where the divisor comes from.

    Raises:
        TrickError: If a size is too small or no multiple, or if there is one size only.
    """
    small = [size for size in sizes if size < MIN_SIZE]
    uneven = [size for size in sizes if size % divisor]
    if small:
        raise TrickError(f'{path}.sizes must be {MIN_SIZE} px or more, got {small[0]}')
    if uneven:
        raise TrickError(f'{path}.sizes must be multiples of {divisor}{why}, got {uneven[0]}')
    if len(set(sizes)) < 2:
        raise TrickError(f'{path}.sizes must hold two sizes or more, got {sizes!r}')


@TRICKS.register
class RandomShapes(Trick):
    """Gives each batch one random shape."""

    name = 'random_shapes'
    title = 'One random shape per batch, the same on all ranks, the largest first'
    paper = 'arXiv 1902.04103 section 3.6'
    order = 70
    Params = RandomShapesParams
    evidence = 'tricks_plugin.tricks.random_shapes.evidence:RandomShapesEvidence'
    distributed = 'every rank draws the same size from seed and iteration'
    functions = ('training_sizes', 'draw_size', 'padded_shape', 'resize_contents', 'target_shape',
                 'resize_images', 'rescale_boxes')

    def pays(self, facts: RunFacts) -> str | None:
        """Not in a detector's small run, and in no classifier's."""
        if facts.task == 'classification':
            return 'no run of a classifier at random sizes is measured here'
        if facts.task != 'detection':
            return None
        small = []
        if facts.scale is not None and facts.scale < MIN_SCALE:
            small.append(f'a test scale of {facts.scale} px (of {MIN_SCALE})')
        elif facts.scale is None and (facts.train_scale or MIN_SCALE) < MIN_SCALE:
            small.append(f'a training scale of {facts.train_scale} px (of {MIN_SCALE}; no step of '
                         'the test names one)')
        if few := facts.fewer('updates', MIN_UPDATES):
            small.append(few)
        return (f'{" and ".join(small)} {"are" if len(small) > 1 else "is"} too small a run for '
                'random shapes: around the test scale they still cost 5.8 points of mAP at 128 px '
                'in 1120 updates, and 4.2 in 780 from a pretrained backbone (three seeds each)'
                ) if small else None
