"""Mixup (arXiv 1710.09412); in detectors geometry-preserving (arXiv 1902.04103 section 3.1)."""

from __future__ import annotations

import dataclasses

from ...plan import TRICKS, Params, RunFacts, Trick, bounded

__all__ = ['MixUp', 'MixUpParams']

COMPONENTS = {'GeometryPreservingMixUp': 'transform', 'PackWeightedDetInputs': 'packing',
              'MixUpWeightingHook': 'weighting.hook', 'MixUpOffHook': 'hook',
              'BatchMixUpHook': 'batch_hook'}

# Beside a strong augmentation of the config's own, see When it pays in the README.
MIN_UPDATES = 3000  # a choice: 260 to 2080 lose (here), 50,000 gain (published)
MIN_IMAGES = 1000  # published


@dataclasses.dataclass(frozen=True)
class MixUpParams(Params):
    """Parameters of `mixup`."""

    alpha: float | None = bounded(None, 'lam is drawn from Beta(alpha, alpha); default 1.5 for '
                                  'detection, 0.2 for classification', gt=0)
    prob: float = bounded(1.0, 'share of the samples that are mixed', gt=0, le=1)
    partner: str = bounded('cache', 'where the second image comes from: earlier samples, or a '
                           'fresh load for each', choices=('cache', 'dataset'))
    partner_shape: str = bounded(
        'any', 'which cached samples: any, or like, the quarter of the most like shapes, for '
        'canvases hardly larger than the images', choices=('any', 'like'))
    cache_size: int = bounded(64, 'samples that each worker keeps as partners', ge=2)
    off_fraction: float | None = bounded(
        None, 'last part of the training without mixup; default 0.1 for detection, none for '
        'classification', ge=0, lt=1)
    off_epochs: int | None = bounded(None, 'the same in epochs; overrides off_fraction', ge=0)
    replace: bool = bounded(False, "take out the config's own mixup and put this one in")
    pad_value: float = bounded(0.0, 'grey level of what an image does not cover', ge=0, le=255)
    per_box: tuple[str, ...] | None = bounded(
        None, 'values of your own with one entry per box: those of both images are joined')
    images: tuple[str, ...] | None = bounded(
        None, "arrays of your own of the image's height and width: blended as the image is")
    ignore: tuple[str, ...] | None = bounded(
        None, "values of your own that may stay the first image's")


@TRICKS.register
class MixUp(Trick):
    """Mixes images, in a detection pipeline or in timm's batches, and ends it in time."""

    name = 'mixup'
    title = 'Geometry-preserving mixup of two images, each box weighted by its share'
    paper = 'arXiv 1902.04103 section 3.1; for classification arXiv 1812.01187 section 5.4'
    order = 50
    Params = MixUpParams
    evidence = 'tricks_plugin.tricks.mixup.evidence:MixUpEvidence'
    distributed = ('each worker process has a cache of its own; '
                   'the switch is per rank, at the same epoch')
    functions = ('mixup_batch', 'draw_lam', 'blend', 'concat_annotations')

    def pays(self, facts: RunFacts) -> str | None:
        """Not in a detector's run that is too small for more augmentation than it has."""
        if facts.task != 'detection' or not facts.augmentation:
            return None
        small = [words for words in (facts.fewer('updates', MIN_UPDATES),
                                     facts.fewer('images', MIN_IMAGES)) if words]
        return (f'{" and ".join(small)} are too few for mixup beside '
                f'{", ".join(facts.augmentation)}: on 205 images it cost 4.8 points of mAP in '
                '2080 updates, and 4.4 in 520 from a pretrained backbone (three seeds each)'
                ) if small else None
