"""The average of weights, and how long it should remember."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

__all__ = ['WeightAverage', 'ema_momentum']

_LARGEST = 0.5


def ema_momentum(iterations: int, horizon: float) -> float:
    """The momentum of an exponential moving average whose memory is a share of the run.

    ``average += momentum * (weights - average)`` at every iteration remembers the last
    ``1 / momentum`` iterations, weighted by age. So a momentum must fit the run: 0.0002 (a decay of
    0.9998), over a run of 30 iterations, leaves the average 99.4 % at the weights of the start.

    torch's own `torch.optim.swa_utils.AveragedModel` averages with it; ``use_buffers`` takes the
    statistics of BatchNorm along, and ``update_parameters`` belongs after every update.

    Args:
        iterations: Length of the run.
        horizon: The memory as a share of the run, in (0, 1).

    Returns:
        In (0, 0.5]: the share of the new weights. 0 would never move, 1 would be no average.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
        >>> momentum = ema_momentum(iterations=1000, horizon=0.1)
        >>> momentum
        0.01
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> _ = torch.nn.init.constant_(model.weight, 5.0)
        >>> averaged = AveragedModel(
        ...     model, multi_avg_fn=get_ema_multi_avg_fn(1 - momentum), use_buffers=True)
        >>> averaged.update_parameters(model)  # the first one copies
        >>> _ = torch.nn.init.constant_(model.weight, 9.0)
        >>> averaged.update_parameters(model)  # 5 + 0.01 * (9 - 5)
        >>> round(averaged.module.weight.item(), 4)
        5.04
    """
    if iterations < 1:
        raise ValueError(f'iterations must be >= 1, got {iterations!r}')
    if not 0 < horizon < 1:
        raise ValueError(f'horizon must be in (0, 1), got {horizon!r}')
    return min(1 / (horizon * iterations), _LARGEST)


class WeightAverage(AveragedModel):
    """torch's AveragedModel as an exponential average: no gradients, statistics of norms included.

    ``update_parameters(model)`` belongs after every update; the first one copies. Calling it runs
    the averaged model, which is ``module``. Fit for a submodule of what trains: it is saved with
    it, and DistributedDataParallel leaves it alone.

    Args:
        model: What is averaged; copied.
        momentum: Share of the new weights, see `ema_momentum`. An attribute, as the length of a run
            is often known later than its model.

    Example:
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> _ = torch.nn.init.constant_(model.weight, 5.0)
        >>> average = WeightAverage(model)
        >>> average.momentum = ema_momentum(iterations=100, horizon=0.1)  # 0.1
        >>> average.update_parameters(model)
        >>> _ = torch.nn.init.constant_(model.weight, 9.0)
        >>> average.update_parameters(model)  # 5 + 0.1 * (9 - 5)
        >>> round(average.module.weight.item(), 4)
        5.4
    """

    def __init__(self, model: nn.Module, momentum: float = 0.0002) -> None:
        super().__init__(model, avg_fn=self._mix, use_buffers=True)
        self.momentum = momentum
        self.requires_grad_(False)

    def _mix(self, average: Any, new: Any, count: Any) -> Any:
        """``average + momentum * (new - average)``; whole numbers, such as counts, are copied."""
        if isinstance(average, Tensor) and not average.is_floating_point():
            return new
        return average + self.momentum * (new - average)
