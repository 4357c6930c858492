"""The config edit of label smoothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

from tricks_plugin.mm import config_edit

from ...plan import TRICKS, Params, Trick, Verdict, bounded
from . import heads
from .functional import VARIANTS, convert_eps, default_variant, targets

__all__ = ['LabelSmoothing', 'LabelSmoothingParams']

_SMOOTHED_TYPES = {
    'CrossEntropyLoss': 'tricks_plugin.SmoothedCrossEntropyLoss',
    'FocalLoss': 'tricks_plugin.SmoothedFocalLoss',
}


@dataclasses.dataclass(frozen=True)
class LabelSmoothingParams(Params):
    """Parameters of `LabelSmoothing`."""

    eps: float = bounded(0.1, "smoothing, in the variant's own sense", gt=0, lt=1)
    variant: str | None = bounded(
        None, "how a label is spread; default 'he' for softmax heads, 'szegedy' for sigmoid heads",
        choices=tuple(VARIANTS))


@dataclasses.dataclass
class _Smoothed:
    """What became of one loss."""

    path: str
    words: str
    expected: dict[str, Any]


@TRICKS.register
class LabelSmoothing(Trick):
    """Smooths the class labels of every head whose target is a class."""

    name = 'label_smoothing'
    title = 'class targets of pos < 1 and neg > 0 in place of 1 and 0'
    paper = ('He et al., arXiv 1812.01187, section 5.2 (softmax); '
             'Zhang et al., arXiv 1902.04103, section 3.2 (sigmoid)')
    order = 40
    Params = LabelSmoothingParams
    evidence = 'tricks_plugin.tricks.label_smoothing.evidence:LabelSmoothingEvidence'
    timm_main = 'smoothing'

    def apply(self, cfg: dict[str, Any]) -> Verdict:
        """Gives each classification loss smoothed targets; see `Trick.apply`."""
        smoothed: list[_Smoothed] = []
        present: list[str] = []
        skipped: list[tuple[str, str]] = []
        for site in heads.sites(cfg.get('model'), config_edit.default_scope(cfg)):
            if heads.already_smoothed(site):
                present.append(site.path or 'model')
                continue
            result = heads.obstacle(site) or self._smooth(site)
            if isinstance(result, str):
                skipped.append((site.path or 'model', result))
            else:
                smoothed.append(result)
        return _verdict(smoothed, present, skipped)

    def timm_args(
        self, args: dict[str, Any], given: Collection[str] = frozenset(),
    ) -> dict[str, Any] | str | None:
        """Timm's ``smoothing``, which is ``szegedy``, converted exactly; see `Trick.timm_args`.

        BCE gets the sigmoid form, as it is. JSD smooths the softmax targets of the clean split.
        """
        if args.get('bce_loss') and args.get('bce_target_thresh') is not None:
            return '--bce-target-thresh rounds the smoothed targets back to 0 and 1'
        variant = self.params.variant or default_variant(bool(args.get('bce_loss')))
        if variant == 'szegedy':
            return {'smoothing': self.params.eps}
        count = args.get('num_classes')
        if not isinstance(count, int) or count < 2:
            return f"'{variant}' smooths over 2 classes or more, got {count!r}"
        try:
            return {'smoothing': convert_eps(self.params.eps, count, variant, 'szegedy')}
        except ValueError as error:
            return f'timm cannot: {error}'

    def timm_note(self, before: dict[str, Any], after: dict[str, Any]) -> str:
        """Shows the conversion, or the targets where the user's number stands."""
        smoothing, count = after['smoothing'], after.get('num_classes')
        if not isinstance(count, int) or count < 2 or not 0 < smoothing < 1:
            return ''
        pos, neg = targets('szegedy', smoothing, count)
        words = f'targets {pos:.6g} and {neg:.4g} for {count} classes'
        return words if after.get('bce_loss') else f"{words}: He's eps {1 - pos:.6g}"

    def _smooth(self, site: heads.Site) -> _Smoothed | str:
        """Edits one head; returns why not, in words, where the variant does not fit it."""
        sigmoid = site.use_sigmoid
        variant = self.params.variant or default_variant(sigmoid)
        if not (sigmoid or VARIANTS[variant].sums_to_one):
            return f"the targets of variant '{variant}' do not sum to 1, as a softmax needs"
        count = heads.output_count(site)
        if not (site.is_a('YOLOV3Head') and sigmoid and self._use_smoother(site, variant, count)):
            kind = _SMOOTHED_TYPES[config_edit.type_name(site.loss)]
            site.head['loss_cls'] = {
                **(site.loss or {}), 'type': kind, 'eps': self.params.eps, 'variant': variant}
        pair = targets(variant, self.params.eps, count) if count else (None, None)
        known = VARIANTS[variant]
        words = (f'true {pair[0]:.10g}, others {pair[1]:.10g}' if count else
                 f'true {known.pos_formula}, others {known.neg_formula}, eps={self.params.eps:g}')
        path = '.'.join(part for part in (site.path.replace('[', '.').replace(']', ''),
                                          'loss_cls') if part)
        return _Smoothed(
            site.path or 'model',
            f"{'sigmoid' if sigmoid else 'softmax'} {variant}, K={count or 'unknown'}: {words}",
            {'path': path, 'variant': variant, 'eps': self.params.eps,
             'pos': pair[0], 'neg': pair[1]})

    def _use_smoother(self, site: heads.Site, variant: str, count: int | None) -> bool:
        """Sets YOLOV3Head's own ``one_hot_smoother`` if it can give the very targets."""
        try:
            if count is None:
                return False
            site.head['one_hot_smoother'] = convert_eps(
                self.params.eps, count, variant, 'szegedy')
        except ValueError:
            return False
        return True


def _verdict(smoothed: list[_Smoothed], present: list[str],
             skipped: list[tuple[str, str]]) -> Verdict:
    """The verdict over all heads: what was done to each, and what was left, with reasons."""
    done = _grouped([(item.path, item.words) for item in smoothed])
    left = _grouped([(path, 'smoothed already') for path in present])
    left += _grouped([(path, f'not smoothed, {why}') for path, why in skipped])
    reason = '; '.join(done + left)
    if smoothed:
        return Verdict.applied(reason, expected=[item.expected for item in smoothed])
    if present:
        return Verdict.present(reason)
    return Verdict.not_applicable(
        reason or 'the model has no classification loss over class labels')


def _grouped(entries: list[tuple[str, str]]) -> list[str]:
    """Joins the paths that share their words: ``a[0..2], b: words``."""
    paths: dict[str, list[str]] = {}
    for path, words in entries:
        paths.setdefault(words, []).append(path)
    return [f"{', '.join(_shortened(found))}: {words}" for words, found in paths.items()]


def _shortened(paths: list[str]) -> list[str]:
    """``a[0], a[1], a[2]`` as ``a[0..2]``, for neighbours in the list."""
    runs: list[tuple[str, list[str]]] = []
    for path in paths:
        stem, _, index = path.removesuffix(']').rpartition('[')
        if not index.isdigit():
            stem, index = path, ''
        if runs and index and runs[-1][0] == stem:
            runs[-1][1].append(index)
        else:
            runs.append((stem, [index]))
    return [stem if not found[0] else
            f'{stem}[{found[0]}]' if len(found) == 1 else f'{stem}[{found[0]}..{found[-1]}]'
            for stem, found in runs]
