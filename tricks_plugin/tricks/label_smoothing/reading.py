"""Reading the targets that losses work with: from modules in mmdet, from a criterion in timm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from .smoother import TargetSmoother

__all__ = ['Watch', 'attach', 'effective_targets']

_ROWS = 8  # of a batch, where a loss is asked for its gradient


class Watch:
    """The targets of one loss, over rows that hold an object.

    Attributes:
        name: The module's name in the model.
        calls: How often the loss asked for targets.
        silent: Iterations with something to learn since it last did.
        outputs: K of the latest targets.
        rows: How many rows were read.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls = self.silent = self.outputs = self.rows = 0
        self.half = False
        self._ends: Tensor | None = None
        self._values = [float('inf'), float('-inf'), float('inf'), float('-inf')]

    def see(self, soft: Tensor, holds: Tensor | None = None) -> None:
        """Takes in targets of shape (..., K), without waiting for their device.

        Of a row with one class above all others its maximum is the true class's target, and of
        each row its minimum is that of the others; in rows of two classes or one only where the
        row is no mixture.

        Args:
            soft: Targets.
            holds: Shape (..., 1), which rows hold an object; by default all.
        """
        if soft.numel() == 0:
            return
        self.outputs = soft.shape[-1]
        self.rows += soft.numel() // self.outputs
        soft = soft.detach()
        soft = soft.to(torch.promote_types(soft.dtype, torch.float32))
        held = torch.ones_like(soft[..., 0], dtype=torch.bool) if holds is None else \
            holds.expand(*soft.shape[:-1], 1)[..., 0].bool()
        low, high = soft.amin(-1), soft.amax(-1)
        plain = held & ((soft > low[..., None] + 1e-7).sum(-1) <= 1)
        shown = held if self.outputs > 2 else plain
        ends = torch.stack([
            torch.where(shown, low, torch.inf).amin(), -torch.where(shown, low, -torch.inf).amax(),
            torch.where(plain, high, torch.inf).amin(),
            -torch.where(plain, high, -torch.inf).amax()])
        self._ends = ends if self._ends is None else torch.minimum(self._ends, ends)

    def seen(self) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
        """(smallest, largest) of the other classes' targets and of the true ones'; None without.

        Synchronises the device.
        """
        if self._ends is None:
            return None, None
        values = [value * sign for value, sign in zip(self._ends.tolist(), (1, -1, 1, -1),
                                                      strict=True)]
        pairs = [(values[0], values[1]), (values[2], values[3])]
        other, true = (pair if pair[0] <= pair[1] else None for pair in pairs)
        return other, true


def attach(model: nn.Module, measuring: Callable[[], bool]) -> Iterator[tuple[Watch, Any]]:
    """Watches every loss of a model that works with smoothed targets.

    The output of every `TargetSmoother`, the class targets of a YOLOV3Head that smooths by
    itself, and those of mmpretrain's LabelSmoothLoss, by its gradient. Every call is counted;
    targets are read where ``measuring`` says so.

    Yields:
        ``(watch, handle)``; the handle takes the hook off.
    """
    for name, module in model.named_modules():
        if isinstance(module, TargetSmoother):
            watch = Watch(name.rpartition('.')[0])
            yield watch, module.register_forward_hook(_smoother_hook(watch, measuring))
        elif _is_yolov3(module) and not hasattr(module.loss_cls, 'smoother'):
            watch = Watch(f'{name}.loss_cls')
            yield watch, module.loss_cls.register_forward_pre_hook(
                _yolov3_hook(watch, measuring), with_kwargs=True)
        elif any(base.__name__ == 'LabelSmoothLoss' for base in type(module).__mro__):
            watch = Watch(name)
            yield watch, module.register_forward_pre_hook(_label_smooth_hook(watch, measuring))


def _smoother_hook(watch: Watch, measuring: Callable[[], bool]) -> Any:
    def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        watch.calls += 1
        watch.silent = 0
        if measuring():
            watch.see(output, (args[0] > 0).any(dim=-1, keepdim=True))
    return hook


def _yolov3_hook(watch: Watch, measuring: Callable[[], bool]) -> Any:
    def hook(module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Any]) -> None:
        watch.calls += 1
        watch.silent = 0
        if measuring() and isinstance(kwargs.get('weight'), Tensor):
            watch.see(args[1], kwargs['weight'] > 0)
    return hook


def _label_smooth_hook(watch: Watch, measuring: Callable[[], bool]) -> Any:
    def hook(module: Any, args: tuple[Tensor, ...]) -> None:
        watch.calls += 1
        watch.silent = 0
        if not measuring() or len(args) < 2:
            return
        labels = args[1][:_ROWS]

        def criterion(logits: Tensor, rows: Tensor) -> Tensor:
            # Not called as a module, which would come back here.
            return module.forward(logits, rows, avg_factor=len(rows)) / module.loss_weight

        holds = None if labels.dim() == 1 else (labels > 0).any(dim=-1, keepdim=True)
        watch.see(effective_targets(criterion, labels, args[0].shape[-1],
                                    sigmoid=bool(module.ce.use_sigmoid)), holds)
    return hook


def _is_yolov3(module: nn.Module) -> bool:
    return any(base.__name__ == 'YOLOV3Head' for base in type(module).__mro__)


def effective_targets(criterion: Any, targets: Tensor, num_classes: int,
                      sigmoid: bool = False) -> Tensor:
    """The target distribution of a loss, derived from its gradient.

    The gradient of a cross entropy's mean over n rows with respect to the logits is
    ``(softmax - q) / n``; at logits of zero the softmax is 1 / K, which leaves q. The same holds
    with a sigmoid, 1/2 and K more terms for timm's binary cross entropy. Of the Jensen-Shannon
    loss, whose divergence is flat at equal logits, it gives the targets of its cross entropy.
    No other tensor gets a gradient, and no random number is drawn.

    Args:
        criterion: Called as ``criterion(logits, targets)``.
        targets: Shape (n,), class numbers, or (n, K), shares of the classes.
        num_classes: K.
        sigmoid: Whether it is a sum over K sigmoids, as mmpretrain's; timm's is recognised.

    Returns:
        Shape (n, K), float64 where the device has it, on the targets' device.
    """
    rows = len(targets)
    dtype = torch.float32 if targets.device.type == 'mps' else torch.float64
    splits = getattr(criterion, 'num_splits', 1)
    if targets.is_floating_point():
        targets = targets.to(dtype)
    with torch.enable_grad():
        logits = torch.zeros(rows * splits, num_classes, dtype=dtype, device=targets.device,
                             requires_grad=True)
        gradient, = torch.autograd.grad(criterion(logits, targets), logits)
    gradient = gradient[:rows] * rows
    if hasattr(criterion, 'sum_classes'):  # timm's BinaryCrossEntropy
        terms = 1 if criterion.sum_classes else num_classes
        positive = 1.0 if criterion.pos_weight is None else criterion.pos_weight.to(dtype)
        return (1 - 2 * gradient * terms) / (1 + positive)
    return (0.5 if sigmoid else 1 / num_classes) - gradient
