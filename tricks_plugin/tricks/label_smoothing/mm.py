"""The config edit of label smoothing."""

from __future__ import annotations

import dataclasses
from typing import Any

from ...mm import config_edit
from ...plan import ConfigEdit, Verdict
from . import heads, mmpretrain, others
from .functional import VARIANTS, default_variant, targets

__all__ = ['Edit']

_SMOOTHED_TYPES = {
    'CrossEntropyLoss': 'tricks_plugin.SmoothedCrossEntropyLoss',
    'FocalLoss': 'tricks_plugin.SmoothedFocalLoss',
}


@dataclasses.dataclass
class _Smoothed:
    """What became of one loss."""

    path: str
    words: str
    expected: dict[str, Any]


class Edit(ConfigEdit):
    """Gives each classification loss smoothed targets."""

    def apply(self, cfg: dict[str, Any]) -> Verdict:
        """Gives each classification loss smoothed targets; see `Trick.apply`."""
        if config_edit.old_form(cfg):
            return Verdict.not_applicable('the config does not train')
        if mmpretrain.learns_classes(cfg):
            return self._classifier(cfg)
        reason = others.refused(cfg)
        if reason:
            return Verdict.not_applicable(reason)
        if found := others.present(cfg):
            return Verdict.present(found)
        smoothed: list[_Smoothed] = []
        present: list[tuple[str, dict[str, Any] | None]] = []
        skipped: list[tuple[str, str]] = []
        for site in heads.sites(cfg.get('model'), config_edit.default_scope(cfg)):
            if heads.already_smoothed(site):
                present.append((site.path or 'model', heads.present_promise(site)))
                continue
            result = heads.obstacle(site) or self._smooth(site)
            if isinstance(result, str):
                skipped.append((site.path or 'model', result))
            else:
                smoothed.append(result)
        return _verdict(smoothed, present, skipped, others.nothing(cfg))

    def _classifier(self, cfg: dict[str, Any]) -> Verdict:
        """The heads of an mmpretrain classifier."""
        smoothed: list[_Smoothed] = []
        present: list[tuple[str, dict[str, Any] | None]] = []
        skipped: list[tuple[str, str]] = []
        for site in mmpretrain.sites(cfg):
            path = site.path or 'model'
            if (found := mmpretrain.present(cfg, site)) is not None:
                present.append((path, found[1]))
                skipped.append((path, found[0]))
                continue
            result = mmpretrain.obstacle(cfg, site) or \
                mmpretrain.smooth(site, self.params.variant, self.params.eps)
            if isinstance(result, str):
                skipped.append((path, f'not smoothed, {result}'))
                continue
            variant, words = result
            smoothed.append(_Smoothed(path, words + _pair(variant, self.params.eps, site.outputs),
                                      site.promise(variant, self.params.eps)))
        done = _grouped([(item.path, item.words) for item in smoothed])
        reason = '; '.join(done + _grouped(skipped))
        known = [promise for _, promise in present if promise is not None]
        if smoothed:
            return Verdict.applied(reason, expected=[*(one.expected for one in smoothed), *known])
        if present:
            return Verdict.present(reason, {'expected': known} if known else None)
        return Verdict.not_applicable(reason or 'the classifier has no head with a loss')

    def _smooth(self, site: heads.Site) -> _Smoothed | str:
        """Edits one head; returns why not, in words, where the variant does not fit it."""
        sigmoid = site.use_sigmoid
        variant = self.params.variant or default_variant(sigmoid)
        if not (sigmoid or VARIANTS[variant].sums_to_one):
            return f"the targets of variant '{variant}' do not sum to 1, as a softmax needs"
        count = heads.output_count(site)
        if site.is_a('YOLOV3Head') and sigmoid and variant == 'szegedy':
            site.head['one_hot_smoother'] = self.params.eps  # for any K; of others it would depend
        else:
            kind = _SMOOTHED_TYPES[config_edit.type_name(site.loss)]
            site.head['loss_cls'] = {
                **(site.loss or {}), 'type': kind, 'eps': self.params.eps, 'variant': variant}
        return _Smoothed(
            site.path or 'model',
            f"{'sigmoid' if sigmoid else 'softmax'} {variant}"
            + _pair(variant, self.params.eps, count),
            heads.promise(site, variant, self.params.eps))


def _pair(variant: str, eps: float, count: int | None) -> str:
    """K and the two targets, in words; their formulas where K is not known."""
    if count:
        true, other = targets(variant, eps, count)
        return f', K={count}: true {true:.10g}, others {other:.10g}'
    known = VARIANTS[variant]
    return f', K=unknown: true {known.pos_formula}, others {known.neg_formula}, eps={eps:g}'


def _verdict(smoothed: list[_Smoothed], present: list[tuple[str, dict[str, Any] | None]],
             skipped: list[tuple[str, str]], nothing: str) -> Verdict:
    """The verdict over all heads: what was done to each, and what was left, with reasons."""
    done = _grouped([(item.path, item.words) for item in smoothed])
    left = _grouped([(path, 'smoothed already') for path, _ in present])
    left += _grouped([(path, f'not smoothed, {why}') for path, why in skipped])
    reason = '; '.join(done + left)
    known = [promise for _, promise in present if promise is not None]
    if smoothed:
        return Verdict.applied(reason, expected=[*(item.expected for item in smoothed), *known])
    if present:
        return Verdict.present(reason, {'expected': known} if known else None)
    return Verdict.not_applicable(reason or nothing)


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
