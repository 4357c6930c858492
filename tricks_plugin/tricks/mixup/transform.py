"""The transform that mixes a sample with an earlier one, or with one of the dataset."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.registry import TRANSFORMS
from torch.utils.data import get_worker_info

from ...common.shared_state import SharedState, Switchable
from ...plan.errors import TrickError
from .extras import Extras, refusal
from .functional import concat_annotations, draw_lam
from .sample import BOX_KEYS, SampleCache, blendable, blended, box_values, check, kept, matching
from .source import PartnerSource, tried

__all__ = ['COUNTS', 'PEAKS', 'GeometryPreservingMixUp']

COUNTS = ('failed_partners', 'loaded_partners', 'dropped_proposals')
PEAKS = ('sample_bytes', 'cache_bytes')  # of the largest cached sample, and of one process's cache
_TRIES = 3  # loads of a partner before a sample goes without a fresh one
_SHOWN = ('alpha', 'prob', 'partner', 'partner_shape', 'cache_size', 'pad_value', 'cache_mb')
_LOCAL = ('_cache', '_source', '_generator')


@TRANSFORMS.register_module()
class GeometryPreservingMixUp(Switchable, BaseTransform):
    """Blends a sample with a partner, each image keeping its own geometry.

    Both images are aligned at the top left of a canvas of the larger height and width, and
    blended by lam ~ Beta(alpha, alpha); boxes, labels, ignore flags and masks are joined
    unmoved, and each box gets its image's share as a weight. Stands just before the packing.

    With ``partner='cache'`` the partner is one of the last ``cache_size`` samples that this
    worker process made, at this very point of the pipeline, so it costs no second load. A worker
    begins with an empty cache: each of its places that is still empty stands for a fresh load
    of any sample of the dataset, so from the first sample on all are mixed, with as many
    different partners as later. That takes about 0.3 * cache_size loads per start of a worker
    (once per run, or once per epoch without persistent workers). With ``partner='dataset'``
    every partner is a fresh load. Where the dataset is not known (outside a DataLoader's worker
    and without `attach`), earlier samples and MultiImageMixDataset's ``mix_results`` serve.

    Partners are of the same kind only: equal dtype, channels, box type and mask type, and
    another image. One that fails to load is skipped, counted (in `shared`) and logged; after
    three that fail or do not match, an earlier sample serves, or the sample stays unmixed.

    `enabled` switches it in every worker process at once: it lies in shared memory. Switched
    off, a sample passes unchanged, with weights of 1, and the cache is released.

    Required Keys:

    - img (uint8 or float32; other types become one of them)
    - gt_bboxes (BaseBoxes of any type, or ndarray)
    - gt_bboxes_labels
    - gt_ignore_flags
    - gt_masks (BitmapMasks or PolygonMasks, optional)

    Modified Keys: img, img_shape, pad_shape (if there), gt_bboxes, gt_bboxes_labels,
    gt_ignore_flags, gt_masks (if there).

    Added Keys: gt_mixup_weights, float32 ``(num_boxes,)``.

    Removed Keys: proposals, proposals_scores (they were made for one image, not for a blend).

    Args:
        alpha: lam ~ Beta(alpha, alpha).
        prob: Share of the samples that are mixed, in (0, 1].
        partner: ``'cache'`` or ``'dataset'``.
        partner_shape: ``'any'``, or ``'like'``: of the cached samples one of the quarter whose
            shapes are most alike, see `likest`; fresh loads come as they are.
        cache_size: Samples that each worker keeps, at least 2.
        pad_value: Grey level of what an image does not cover; the paper's code has 0.
        cache_mb: Memory of each worker's cache, in units of 2**20 bytes, above 0; the oldest
            samples go first, and the latest stays whatever its size.
        per_box: Keys of further values with one entry per box, which are joined; ``a.b`` is the
            value ``b`` of the dict ``a``.
        images: Keys of further arrays of the image's height and width, which are blended as the
            image is, zero where one does not reach.
        ignore: Keys of further values that stay the first image's.

    Raises:
        ValueError: If an argument is out of its bounds; from a sample, if a required key is
            missing, or if it has annotations that cannot be mixed.
        TrickError: From a sample, if it carries a value per box or of the image's height and
            width that is neither known nor declared.

    Attributes:
        shared: The switch, and counts of all worker processes.

    Source: arXiv 1902.04103 section 3.1; gluon-cv ``gluoncv/data/mixup/detection.py``.
    """

    keeps_image_size = True  # `runtime` asks: of images of one size

    def __init__(self, alpha: float = 1.5, prob: float = 1.0, partner: str = 'cache',
                 cache_size: int = 64, pad_value: float = 0.0, cache_mb: float = 512,
                 per_box: Sequence[str] = (), images: Sequence[str] = (),
                 ignore: Sequence[str] = (), partner_shape: str = 'any') -> None:
        if not alpha > 0:
            raise ValueError(f'alpha must be > 0, got {alpha!r}')
        if not 0 < prob <= 1:
            raise ValueError(f'prob must be in (0, 1], got {prob!r}')
        if partner not in ('cache', 'dataset'):
            raise ValueError(f"partner must be 'cache' or 'dataset', got {partner!r}")
        if partner_shape not in (('any', 'like') if partner == 'cache' else ('any',)):
            raise ValueError(f"partner_shape must be 'any', or with partner='cache' 'like', got "
                             f'{partner_shape!r} with partner={partner!r}')
        if cache_size < 2:
            raise ValueError(f'cache_size must be >= 2, got {cache_size!r}')
        if not cache_mb > 0:
            raise ValueError(f'cache_mb must be > 0, got {cache_mb!r}')
        self.alpha = alpha
        self.prob = prob
        self.partner = partner
        self.partner_shape = partner_shape
        self.cache_size = cache_size
        self.pad_value = pad_value
        self.cache_mb = cache_mb
        self.extras = Extras(tuple(per_box), tuple(images), tuple(ignore))
        self.shared = SharedState(COUNTS, PEAKS)
        self._begin()

    def _begin(self) -> None:
        """What each process holds for itself."""
        self._cache = SampleCache(self.cache_size, int(self.cache_mb * 2**20))
        self._source = PartnerSource(self.shared)
        self._generator: np.random.RandomState | None = None

    def attach(self, dataset: Any) -> None:
        """Names the dataset that fresh partners are loaded from in this process.

        Args:
            dataset: The whole training dataset; the part of it that holds this transform is
                found. Worker processes need no telling.
        """
        self._source.attach(dataset)
        self._source.owner(self)

    def get_indexes(self, dataset: Any) -> list[int]:
        """The partner that MultiImageMixDataset shall load; none where none is needed.

        Args:
            dataset: The dataset inside the wrapper.
        """
        if self.partner == 'cache' or not self.enabled or self._source.owner(self) is not None:
            return []
        wanted = self._random.random_sample() < self.prob
        return [int(self._random.randint(len(dataset)))] if wanted else []

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Mixes one sample.

        Args:
            results: The sample; changed in place. Its arrays are not written to.
        """
        check(results, self.extras.allowed)
        if results.get('gt_mixup_weights') is None:
            results['gt_mixup_weights'] = np.ones(len(results['gt_bboxes']), np.float32)
        if not self.enabled:
            self._cache.clear()
            return results
        if self._source.trying:
            results['img'] = blendable(results['img'])
            self._source.arrive(results)
            return results
        if results.pop('proposals', None) is not None:
            self.shared.count('dropped_proposals')
        results.pop('proposals_scores', None)
        results['img'] = blendable(results['img'])
        self.extras.check(results)
        if self._source.loading:
            self._source.arrive(self._kept(results, fresh=False))
            return results
        partner, lam = self._draw(results)
        if self.partner == 'cache' or self._source.owner(self) is None:
            self._remember(self._kept(results, fresh=partner is not None))
        return results if partner is None else self._mix(results, partner, lam)

    def try_samples(self, dataset: Any) -> None:
        """Looks at a few samples of a dataset and refuses what cannot be mixed, before any is.

        Nothing that the training draws, caches or counts is changed by it.

        Args:
            dataset: The whole training dataset.

        Raises:
            TrickError: If samples carry a value per box or of the image's height and width that
                is neither known nor declared.
        """
        suspects: dict[str, int] = {}
        with contextlib.closing(tried(dataset, self)) as samples:
            for seen, results in enumerate(samples):
                suspects.update(self.extras.check(results, refuse=False))
                for key in self.extras.harmless:
                    suspects.pop(key, None)
                if seen and not suspects:
                    return
        if suspects:
            raise TrickError(refusal(suspects))

    def _kept(self, results: dict[str, Any], fresh: bool) -> dict[str, Any]:
        return kept(results, fresh, self.extras.kept(results))

    @property
    def _random(self) -> Any:
        """What draws: in a worker a generator of its own, else NumPy's global one.

        mmengine seeds the workers' global generator alike at every start, so workers that are
        not persistent would repeat their draws in every epoch; PyTorch's seed differs.
        """
        info = get_worker_info()
        if info is None:
            return np.random
        if self._generator is None:
            seeds = np.random.SeedSequence([info.seed, np.random.randint(2**31)])
            self._generator = np.random.RandomState(np.random.MT19937(seeds))
        return self._generator

    def _draw(self, results: dict[str, Any]) -> tuple[dict[str, Any] | None, float]:
        """The partner, None to leave the sample unmixed, and the sample's share lam."""
        random = self._random
        lam = draw_lam(random, self.alpha)
        chosen, place, choice = random.random_sample(3)
        owner = self._source.owner(self)
        if self.partner == 'dataset' and owner is None and 'mix_results' in results:
            candidates = matching(results, results['mix_results'])  # get_indexes drew prob
        elif chosen >= self.prob:
            return None, 1.0
        else:
            if owner is not None and (self.partner == 'dataset' or place >= self._cache.fill):
                partner = self._load(results, owner)
                if partner is not None:
                    return partner, lam
            candidates = matching(results, self._cache, like=self.partner_shape == 'like')
        if not candidates:
            return None, 1.0
        return candidates[int(choice * len(candidates))], lam

    def _load(self, results: dict[str, Any], owner: Any) -> dict[str, Any] | None:
        """A fresh partner; None after some that fail to load or do not match."""
        for _ in range(_TRIES):
            loaded = self._source.load(owner, int(self._random.randint(len(owner))))
            if loaded is not None and matching(results, [loaded]):
                self.shared.count('loaded_partners')
                if self.partner == 'cache':
                    self._remember(loaded)
                return loaded
        return None

    def _remember(self, entry: dict[str, Any]) -> None:
        self.shared.raise_to('sample_bytes', self._cache.append(entry))
        self.shared.raise_to('cache_bytes', self._cache.bytes)

    def _mix(self, results: dict[str, Any], partner: dict[str, Any], lam: float) -> dict[str, Any]:
        """Blends the images and joins the annotations: ``lam`` is the share of ``results``."""
        shapes = results['img'].shape[:2], partner['img'].shape[:2]
        canvas = blended(results['img'], partner['img'], lam, self.pad_value)
        joined = concat_annotations(box_values(results, canvas.shape[:2]),
                                    box_values(partner, canvas.shape[:2]), lam)
        counts = (len(results['gt_bboxes']), len(partner['gt_bboxes']))
        results.update((key, joined[name]) for key, name in BOX_KEYS.items() if name in joined)
        results['img'] = canvas
        self.extras.mix(results, partner, lam, counts, shapes)
        results['img_shape'] = canvas.shape[:2]
        if 'pad_shape' in results:
            results['pad_shape'] = canvas.shape
        return results

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in _LOCAL}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def __repr__(self) -> str:
        shown = ', '.join(f'{name}={getattr(self, name)!r}' for name in _SHOWN)
        return f'{type(self).__name__}({shown})'
