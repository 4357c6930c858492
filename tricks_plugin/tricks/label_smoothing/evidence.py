"""Measures label smoothing in the running training: the targets that reach the losses."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch

from ...evidence import Evidence, Finding, Training
from .functional import targets
from .reading import Watch, attach, effective_targets

__all__ = ['LabelSmoothingEvidence']

_ENOUGH = 20  # iterations: each is measured up to here; a loss silent for so many is gone
_INTERVAL = 50  # iterations between later measurements
_ROWS = 8  # of a batch, where a criterion's gradient is taken
_TOLERANCE = 1e-6  # smoothed targets are float32
_COARSE = 1e-2  # in 16 bits timm's per-image shares are rounded before they meet the targets
_HALF = (torch.float16, torch.bfloat16)


class LabelSmoothingEvidence(Evidence):
    """Compares the targets that the losses work with to the rule that was planned.

    How targets are read depends on the trainer, see `reading`: from the modules of a detector, or
    from the gradient of the criterion. They are read in each of the first 20 iterations, in every
    50th later, and in the first of each epoch; that a loss is called at all is counted always.
    The rest is one rule: for the number of classes that arrives, the variant's two values. Losses
    of a detector are found by what they are, and matched to the plan by the end of their name in
    the model, since wrappers put a name in front.

    Args:
        expected: One dict per planned loss: ``path`` (of the loss in the model), ``variant``,
            ``eps``, and ``until``, the epoch from which the config's own hook puts another loss
            in its place, if one does.
    """

    def __init__(self, expected: list[dict[str, Any]]) -> None:
        self.expected = expected
        self._watches: list[tuple[int, Watch]] = []
        self._handles: list[tuple[int, Any]] = []
        self._replaced: set[int] = set()  # of the expected
        self._measuring = True
        self._with_objects = 0
        self._epoch = -1

    def start(self, training: Training) -> None:
        """Attaches a hook to every loss with smoothed targets; of a criterion it needs none."""
        if training.criterion is not None:
            self._watches.append((0, Watch(str(self.expected[0]['path']))))
            return
        for watch, handle in attach(training.model, lambda: self._measuring):
            scores = [_likeness(watch.name, str(item['path'])) for item in self.expected]
            best = max(range(len(scores)), key=scores.__getitem__, default=-1)
            self._watches.append((best if best >= 0 and scores[best] >= 1 else -1, watch))
            self._handles.append((self._watches[-1][0], handle))

    def before_iteration(self, training: Training) -> None:
        """Decides whether this iteration is measured, and measures a criterion."""
        self._measuring = (self._with_objects < _ENOUGH or training.epoch != self._epoch
                           or training.iteration % _INTERVAL == 0)
        self._epoch = training.epoch
        for index, item in enumerate(self.expected):
            if index not in self._replaced and training.epoch >= item.get('until', math.inf):
                self._replaced.add(index)
                self._detach(index)
        if training.criterion is not None and self._measuring:
            self._read_criterion(training)

    def _read_criterion(self, training: Training) -> None:
        _, watch = self._watches[0]
        rows, classes = training.targets[:_ROWS], _outputs(training)
        if not len(rows) or classes is None:
            return
        watch.calls += 1
        watch.half = watch.half or training.images.dtype in _HALF
        watch.see(effective_targets(training.criterion, rows, classes))

    def after_iteration(self, training: Training) -> None:
        """Counts the iterations that had an object to learn."""
        if training.criterion is not None:
            self._with_objects += self._with_objects < _ENOUGH
        elif _has_objects(training.targets):
            self._with_objects += self._with_objects < _ENOUGH
            for _, watch in self._watches:
                watch.silent += 1

    def finding(self, training: Training) -> Finding:
        """Live if every planned loss saw its planned targets; see `Evidence.finding`."""
        results = [self._judge(index) for index in range(len(self.expected))]
        verdicts = [live for live, _, _ in results]
        live = False if False in verdicts else None if None in verdicts or not verdicts else True
        words = [f"{item['path']} {text}{self._after(index)}" for index, (item, (_, text, _))
                 in enumerate(zip(self.expected, results, strict=True))]
        planned = [self._planned(index) for index in range(len(self.expected))]
        values = {str(item['path']): measured for item, (_, _, measured)
                  in zip(self.expected, results, strict=True)}
        return Finding('; '.join(planned), live, '; '.join(words), {'targets': values})

    def _of(self, index: int) -> list[Watch]:
        return [watch for number, watch in self._watches if number == index]

    def _planned(self, index: int) -> str:
        """The rule, and what it gives for the number of classes that arrived."""
        item = self.expected[index]
        words = f"{item['path']} {item['variant']}, eps {item['eps']:g}"
        classes = next((watch.outputs for watch in self._of(index) if watch.outputs > 1), 0)
        if not classes:
            return words
        true, other = targets(item['variant'], item['eps'], classes)
        return f'{words}: {_words(other, true)} of {classes} classes'

    def _judge(self, index: int) -> tuple[bool | None, str, list[float] | None]:
        """Live or not, in words, and [smallest, largest] target, for one planned loss."""
        watches, replaced = self._of(index), index in self._replaced
        if replaced and not any(watch.calls for watch in watches):
            return None, 'not called before it was replaced', None
        if not watches:
            return False, 'has no smoothed loss in the model', None
        if all(not watch.calls for watch in watches):
            return (False if self._with_objects >= _ENOUGH else None), 'not called so far', None
        if not replaced and all(watch.silent > _ENOUGH for watch in watches):
            silent = min(watch.silent for watch in watches) - 1  # the last call's own is counted
            return False, f'not called in the last {silent} iterations with objects', None
        if {watch.outputs for watch in watches} - {0} == {1}:
            return None, 'has one class, and nothing to spread a label over', None
        # One that was not called has seen no classes: a teacher's loss beside the student's.
        pairs = [(watch, *watch.seen()) for watch in watches if watch.outputs > 1]
        low = [other[0] for _, other, _ in pairs if other]
        high = [true[1] for _, _, true in pairs if true]
        if not low and not high:
            return None, 'called without objects so far', None
        right = all(self._as_planned(index, watch, other, true) for watch, other, true in pairs)
        words = _words(min(low), max(high)) if low and high else \
            f'others {min(low):.6g}, all rows mixed' if low else f'true {max(high):.6g}'
        return right, words, [min(low, default=min(high, default=0.0)),
                              max(high, default=max(low, default=0.0))]

    def _as_planned(self, index: int, watch: Watch, other: tuple[float, float] | None,
                    true: tuple[float, float] | None) -> bool:
        item = self.expected[index]
        if not item['eps'] > 0:
            return False
        pos, neg = targets(item['variant'], item['eps'], watch.outputs)
        slack = (_COARSE * neg, _COARSE / 100 * pos) if watch.half else (_TOLERANCE, _TOLERANCE)
        return all(abs(value - neg) <= slack[0] for value in other or ()) and \
            all(abs(value - pos) <= slack[1] for value in true or ())

    def _after(self, index: int) -> str:
        """What became of a loss that was to be replaced."""
        if index not in self._replaced:
            return ''
        return (f" (before epoch {self.expected[index]['until']}, from which the config's own "
                'SwitchRecipeHook has put another loss in its place)')

    def _detach(self, index: int) -> None:
        for number, handle in self._handles:
            if number == index:
                handle.remove()

    def close(self) -> None:
        """Detaches the hooks."""
        for _, handle in self._handles:
            handle.remove()
        self._handles.clear()


def _outputs(training: Training) -> int | None:
    """How many classes a classifier has, from the batch or the model; None if neither tells."""
    rows = training.targets
    if rows.dim() == 2:
        return int(rows.shape[1])
    known = getattr(training.model, 'num_classes', None)
    if isinstance(known, int) and known > 0:
        return known
    linear = [module for module in training.model.modules()
              if isinstance(module, torch.nn.Linear)]
    return linear[-1].out_features if linear else None


def _words(low: float, high: float) -> str:
    return f'targets {low:.6g} to {high:.6g}'


def _likeness(name: str, path: str) -> float:
    """How much of the end of a module's name and of a planned path agree.

    Returns:
        The number of equal parts from the end, stage numbers aside, less 1 (``loss_cls`` ends
        all), plus a half where the stage numbers agree too. A path that agrees whole counts 1 at
        least.
    """
    left = [part for part in name.split('.') if not part.isdigit()]
    right = [part for part in path.split('.') if not part.isdigit()]
    equal = 0
    for ours, theirs in zip(reversed(left), reversed(right), strict=False):
        if ours != theirs:
            break
        equal += 1
    if equal == 0:
        return 0
    numbers = [[part for part in text.split('.') if part.isdigit()] for text in (name, path)]
    return max(equal - 1, equal == len(right)) + (0.5 if numbers[0] == numbers[1] else 0)


def _has_objects(samples: Any) -> bool:
    """Whether data samples hold a box or mask to learn; True where they are of another form."""
    if not isinstance(samples, Iterable) or isinstance(samples, (dict, torch.Tensor)):
        return True
    samples = list(samples)
    return not samples or any(len(getattr(one, 'gt_instances', '?')) > 0 for one in samples)
