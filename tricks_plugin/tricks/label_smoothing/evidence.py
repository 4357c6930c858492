"""Measures label smoothing in the running training: the targets that reach the losses."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tricks_plugin.evidence import Evidence, Finding

from .functional import targets
from .smoother import TargetSmoother

__all__ = ['LabelSmoothingEvidence']

_ENOUGH = 20  # iterations: each is measured up to here, and a missing target is an error from here
_INTERVAL = 50  # iterations between later measurements
_TOLERANCE = 1e-6  # smoothed targets are float32


class _Watch:
    """The smallest and largest target of one loss, over rows that hold an object.

    Attributes:
        name: The module's name in the model.
        low, high: Tensors on the loss's device, or None before the first row.
        outputs: K of the targets seen.
        calls: How often the loss asked for targets while measured.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.low: Tensor | None = None
        self.high: Tensor | None = None
        self.outputs = 0
        self.calls = 0

    def see(self, soft: Tensor, holds: Tensor) -> None:
        """Takes in targets of shape (..., K); ``holds``, (..., 1), marks rows with an object."""
        self.calls += 1
        if soft.numel() == 0:
            return
        self.outputs = soft.shape[-1]
        soft = soft.detach().float()
        low = torch.where(holds, soft, torch.inf).amin()
        high = torch.where(holds, soft, -torch.inf).amax()
        self.low = low if self.low is None else torch.minimum(self.low, low)
        self.high = high if self.high is None else torch.maximum(self.high, high)

    def seen(self) -> tuple[float, float] | None:
        """(smallest, largest), or None if no row held an object. Synchronises the device."""
        if self.low is None or self.high is None:
            return None
        low, high = float(self.low), float(self.high)
        return (low, high) if low <= high else None


class LabelSmoothingEvidence(Evidence):
    """Compares the targets that the losses work with to the planned ones.

    The output of every `TargetSmoother`, and the class targets of a YOLOV3Head that smooths by
    itself, are measured in each of the first 20 iterations and in every 50th later. Losses are
    found by what they are, and matched to the plan by the end of their name in the model, since
    wrappers put a name in front.

    Args:
        expected: One dict per planned loss: ``path`` (of the loss in the model), ``pos`` and
            ``neg`` (None where the config does not say K), ``variant`` and ``eps``.
    """

    def __init__(self, expected: list[dict[str, Any]]) -> None:
        self.expected = expected
        self._watches: list[tuple[int, _Watch]] = []
        self._handles: list[Any] = []
        self._measuring = True
        self._with_objects = 0

    def start(self, runner: Any) -> None:
        """Attaches a hook to every loss with smoothed targets."""
        for name, module in runner.model.named_modules():
            if isinstance(module, TargetSmoother):
                watch = self._new_watch(name.rpartition('.')[0])
                self._handles.append(module.register_forward_hook(self._smoother_hook(watch)))
            elif _is_yolov3(module) and not hasattr(module.loss_cls, 'smoother'):
                watch = self._new_watch(f'{name}.loss_cls')
                self._handles.append(module.loss_cls.register_forward_pre_hook(
                    self._yolov3_hook(watch), with_kwargs=True))

    def _new_watch(self, name: str) -> _Watch:
        """A watch, kept with the number of the planned loss that it belongs to (-1: none)."""
        watch = _Watch(name)
        scores = [_likeness(name, str(item['path'])) for item in self.expected]
        best = max(range(len(scores)), key=scores.__getitem__, default=-1)
        self._watches.append((best if best >= 0 and scores[best] >= 1 else -1, watch))
        return watch

    def _smoother_hook(self, watch: _Watch) -> Any:
        def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            if self._measuring:
                watch.see(output, (args[0] > 0).any(dim=-1, keepdim=True))
        return hook

    def _yolov3_hook(self, watch: _Watch) -> Any:
        def hook(module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Any]) -> None:
            if self._measuring and isinstance(kwargs.get('weight'), Tensor):
                watch.see(args[1], kwargs['weight'] > 0)
        return hook

    def before_iter(self, runner: Any, batch_idx: int, data_batch: Any) -> None:
        """Decides whether this iteration is measured."""
        self._measuring = self._with_objects < _ENOUGH or batch_idx % _INTERVAL == 0

    def after_iter(self, runner: Any, batch_idx: int, data_batch: Any) -> None:
        """Counts the iterations that had an object to learn."""
        if self._with_objects < _ENOUGH:
            self._with_objects += _has_objects(data_batch)

    def finding(self, runner: Any) -> Finding:
        """Live if every planned loss saw its planned targets; see `Evidence.finding`."""
        results = [self._judge(index) for index in range(len(self.expected))]
        verdicts = [live for live, _, _ in results]
        live = False if False in verdicts else None if None in verdicts or not verdicts else True
        words = [f"{item['path']} {text}" for item, (_, text, _)
                 in zip(self.expected, results, strict=True)]
        planned = [f"{item['path']} {_pair(item['neg'], item['pos'])}" if item['pos'] is not None
                   else f"{item['path']} {item['variant']}, eps {item['eps']:g}"
                   for item in self.expected]
        values = {str(item['path']): measured for item, (_, _, measured)
                  in zip(self.expected, results, strict=True)}
        return Finding('; '.join(planned), live, '; '.join(words), {'targets': values})

    def _judge(self, index: int) -> tuple[bool | None, str, list[float] | None]:
        """Live or not, in words, and [smallest, largest] target, for one planned loss."""
        watches = [watch for number, watch in self._watches if number == index]
        enough = self._with_objects >= _ENOUGH
        if not watches:
            return False, 'has no smoothed loss in the model', None
        seen = [(watch, pair) for watch in watches if (pair := watch.seen()) is not None]
        if not seen:
            called = any(watch.calls for watch in watches)
            words = 'called without objects so far' if called else 'not called so far'
            return (False if enough and not called else None), words, None
        low = min(pair[0] for _, pair in seen)
        high = max(pair[1] for _, pair in seen)
        right = all(self._as_planned(index, watch, pair) for watch, pair in seen)
        return right, _pair(low, high), [low, high]

    def _as_planned(self, index: int, watch: _Watch, seen: tuple[float, float]) -> bool:
        item = self.expected[index]
        pos, neg = item['pos'], item['neg']
        if pos is None:
            if watch.outputs < 2:
                return False
            pos, neg = targets(item['variant'], item['eps'], watch.outputs)
        return abs(seen[0] - neg) <= _TOLERANCE and abs(seen[1] - pos) <= _TOLERANCE

    def close(self) -> None:
        """Detaches the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()


def _is_yolov3(module: nn.Module) -> bool:
    return any(base.__name__ == 'YOLOV3Head' for base in type(module).__mro__)


def _pair(low: float, high: float) -> str:
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


def _has_objects(data_batch: Any) -> bool:
    """Whether a batch holds a box or mask to learn; True where its form is unknown."""
    samples = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
    if not isinstance(samples, (list, tuple)):
        return True
    return any(len(getattr(sample, 'gt_instances', ())) > 0 for sample in samples)
