"""Metrics by name: which one counts, its unit, and whether more is better."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ..plan.errors import TrickError, nearest

__all__ = ['ABSENT', 'DEFAULTS', 'check_metric', 'default_metric', 'direction_of',
           'greater_is_better', 'is_absent', 'unit_of', 'value_of']

DEFAULTS = ('coco/bbox_mAP', 'coco/segm_mAP', 'pascal_voc/mAP', 'accuracy/top1', 'mIoU', 'PQ')
# As evaluators of OpenMMLab's libraries, timm and others name them, by their words.
_SMALLER, _GREATER = (frozenset(words.split()) for words in ("""
    loss losses error errors err nll perplexity ppl bpc bpd ece brier wer cer ter ned eer
    mae mse rmse mape smape sad mad l1 l2 rel silog log10 epe fl nme mpe mpjpe mpvpe pve mrrpe
    ade fde mate mase maoe mave maae distance hausdorff hd hd95 assd asd chamfer
    mr mmr lamr miss missrate fppi fppw false fp fn fpr fnr fpr95 far frr
    idsw ids idfp idfn frag ml mdr mnr fid kid fvd fad swd lpips niqe brisque dists latency
""", """
    acc aacc macc accuracy top ap apr apc apf aps apm apl map maph ar mar auc auroc precision recall
    r1 r5 r10 sensitivity specificity tpr f1 fscore mfscore dice mdice iou miou ciou hmean
    pck pckh psnr ssim pq sq rq hota deta assa mota idf1 nds ji
"""))
# Of errors, and of levels, languages and distances too: beside a word that tells, they do not.
_BESIDE = frozenset(['l1', 'l2', 'rel', 'fl', 'far', 'ml', 'ids', 'fp', 'fn', 'mad', 'frag'])
_AVERAGES = frozenset(['ap', 'apr', 'apc', 'apf', 'aps', 'apm', 'apl', 'map', 'ar', 'mar'])
ABSENT = 'the validation has no objects of this kind, for which the evaluator gives -1'
_CONDITION = re.compile(r'(@|[_ ]at[_ ]).*')  # recall@fppi: the recall counts
_TURNED = re.compile(r'(1-|one_minus_)')


def default_metric(names: Iterable[str]) -> str:
    """The metric that counts where none is asked for.

    Args:
        names: All that a validation gives.

    Raises:
        TrickError: If there is none.
    """
    known = list(names)
    if not known:
        raise TrickError('the validation gives no metric')
    for wanted in DEFAULTS:
        for name in known:
            if name == wanted or name.endswith(f'/{wanted}'):
                return name
    return next((name for name in known if greater_is_better(name)), known[0])


def check_metric(name: str, known: Iterable[str]) -> None:
    """Refuses a metric that no validation gives.

    Raises:
        TrickError: With the nearest.
    """
    names = list(known)
    if name not in names:
        raise TrickError(f'--metric: unknown metric {name!r}{nearest(name, names)}')


def direction_of(name: str) -> bool | None:
    """Whether more of a metric is better, by the words of its name; None where none tells.

    The last word that tells decides, but a loss is a loss; the evaluator's prefix is asked only if
    no other word does.

    Args:
        name: With or without a prefix.

    Example:
        >>> [direction_of(name) for name in ('crowd_human/mMR', 'crowd_human/JI', 'top1_err', 'x')]
        [False, True, False, None]
    """
    prefix, _, last = name.rpartition('/')
    for part in (_CONDITION.sub('', last), prefix):
        turned, words = _TURNED.match(part.lower()) is not None, _words(part)
        greater = [word in _GREATER or word.rstrip('0123456789') in _GREATER for word in words]
        pairs = [*zip(words, greater, strict=True)]
        told = any(is_greater and word != 'sq' for word, is_greater in pairs)  # sq_rel is an error
        for word, is_greater in reversed(pairs):
            if is_greater and 'loss' not in words:
                return not turned
            if word in _SMALLER and not (word in _BESIDE and told):
                return turned or part.startswith('neg_')
    return None


def greater_is_better(name: str, asked: bool | None = None) -> bool:
    """Whether more of a metric is better.

    Args:
        name: See `direction_of`; what it does not tell is taken as yes.
        asked: What the user says, who knows better; None for nothing.
    """
    return (direction_of(name) is not False) if asked is None else asked


def _words(text: str) -> list[str]:
    """The words of a name in lower case: those between signs, and the parts of ``MissRate``."""
    found = []
    for word in re.findall(r'[A-Za-z0-9]+', text):
        found += [*re.findall(r'[A-Z]?[a-z0-9]+|[A-Z0-9]+(?![a-z])', word), word]
    return [word.lower() for word in found]


def unit_of(name: str) -> tuple[str, float]:
    """``(unit, factor)``: the unit that tables print, and what a value is multiplied with.

    Args:
        name: mmengine's name of the metric, or timm's.
    """
    prefix, _, last = name.rpartition('/')
    if prefix.split('/')[0] in ('coco', 'pascal_voc', 'lvis', 'openimages', 'cityscapes'):
        if 'mAP' in last or last.startswith('AP'):
            return 'mAP points', 100.0
        return 'points', 100.0
    if last in ('top1', 'top5', 'eval_top1', 'eval_top5', 'mIoU', 'aAcc', 'mAcc', 'PQ'):
        return '%', 1.0
    return last or name, 1.0


def value_of(name: str, metrics: dict[str, Any]) -> float | None:
    """The metric in a validation's results; None where it has none.

    COCO's evaluation gives nothing at all where nothing was detected: that is 0. Where there is
    nothing to detect, such as no small object, it gives -1: that is no value.
    """
    if name in metrics:
        return None if is_absent(name, metrics[name]) else float(metrics[name])
    return 0.0 if not metrics and name.startswith('coco/') else None


def is_absent(name: str, value: Any) -> bool:
    """Whether an AP or AR is the -1 of COCO's evaluation: no object to be found.

    Args:
        name: The metric's.
        value: What the evaluator gave.
    """
    words = (word.rstrip('0123456789') for word in _words(name.rpartition('/')[2]))
    return value == -1 and not _AVERAGES.isdisjoint(words)
