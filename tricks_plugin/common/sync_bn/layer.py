"""BatchNorm over the batch of all processes, for devices and backends that torch's refuses."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.autograd.function import once_differentiable

from .moments import merge_moments

__all__ = ['CrossRankBatchNorm', 'CrossRankBatchNormAct']


class CrossRankBatchNorm(nn.modules.batchnorm._BatchNorm):
    """BatchNorm whose training statistics cover the batches of all processes of a group.

    Forward, running statistics and gradient are those of a plain BatchNorm in one process that
    holds the concatenated batch. Processes may hold batches of different sizes, some of them
    none; each must run the layer the same number of times in the same order, and its loss must
    depend on the layer's output (``output.sum() * 0`` will do), as every forward and every
    backward exchanges numbers. Statistics are computed in float32 (float64 for float64 input),
    also under autocast. In eval mode, and where the group has one process, it is a plain
    BatchNorm.

    Parameters, buffers and `state_dict` are those of `torch.nn.BatchNorm2d`. Gradients of weight
    and bias are of this process's own loss, as of every layer: DistributedDataParallel averages
    them.

    Args:
        num_features: Channels C; the input is (N, C) or (N, C, ...), of any dimension.
        eps: As in BatchNorm2d.
        momentum: As in BatchNorm2d; None averages over all steps.
        affine: As in BatchNorm2d.
        track_running_stats: As in BatchNorm2d.
        process_group: The processes to share statistics with; None for all.

    Raises:
        RuntimeError: On a training forward without an initialised process group.
        ValueError: On input of another number of channels, or of one value per channel over all
            processes.
    """

    process_group: Any = None

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1,
        affine: bool = True, track_running_stats: bool = True, process_group: Any = None,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats)
        self.process_group = process_group

    def _check_input_dim(self, input: torch.Tensor) -> None:
        if input.dim() < 2 or input.size(1) != self.num_features:
            raise ValueError(f'input must be of shape (N, {self.num_features}, ...), got '
                             f'{tuple(input.shape)}')

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Normalizes the input.

        Args:
            input: Shape (N, C, ...), N may be 0; any floating dtype.

        Returns:
            Same shape and dtype.
        """
        if not self.training or _processes(self.process_group) == 1:
            return super().forward(input)
        self._check_input_dim(input)
        mean, variance, total = _global_moments(input.detach(), self.process_group)
        count = int(total)
        if count == 1:
            raise ValueError('BatchNorm in training needs more than 1 value per channel over all '
                             f'processes, got input of shape {tuple(input.shape)} here')
        self._track(mean, variance, count)
        invstd = (variance + self.eps).rsqrt()
        return _Normalize.apply(input, self.weight, self.bias, mean, invstd, count,
                                self.process_group)

    @torch.no_grad()
    def _track(self, mean: torch.Tensor, variance: torch.Tensor, count: int) -> None:
        """Updates the running statistics; as in torch, an empty batch only counts the step."""
        average, spread = self.running_mean, self.running_var
        if not self.track_running_stats or average is None or spread is None:
            return
        factor = self.momentum
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if factor is None:
                factor = 1.0 / float(self.num_batches_tracked)
        if count and factor is not None:
            unbiased = variance * (count / (count - 1))
            average.lerp_(mean.to(average.dtype), factor)
            spread.lerp_(unbiased.to(spread.dtype), factor)


class CrossRankBatchNormAct(CrossRankBatchNorm):
    """`CrossRankBatchNorm`, then dropout and activation: timm's BatchNormAct2d synchronized.

    `synchronize_batch_norms` makes it of such a layer, which brings ``drop`` and ``act`` along.
    """

    drop: nn.Module
    act: nn.Module

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Normalizes the input and activates it.

        Args:
            input: Shape (N, C, ...), N may be 0; any floating dtype.

        Returns:
            Same shape and dtype.
        """
        return self.act(self.drop(super().forward(input)))


def _processes(group: Any) -> int:
    """The number of processes in a group; raises RuntimeError where there is no group."""
    if not (dist.is_available() and dist.is_initialized()):
        raise RuntimeError(
            'CrossRankBatchNorm in training needs an initialised process group, and there is '
            'none: call torch.distributed.init_process_group before the training, or keep plain '
            'BatchNorm layers for a single process')
    return dist.get_world_size(group)


def _global_moments(
    input: torch.Tensor, group: Any,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean, biased variance (both (C,), float32 or float64) and count over a group's batches.

    Every process computes them from the same gathered numbers, so they are equal to the bit.
    """
    values = input.to(torch.promote_types(input.dtype, torch.float32))
    channels = values.size(1)
    count = values.numel() // channels
    packed = values.new_zeros(2 * channels + 1)
    if count:
        over = _all_but_channels(values)
        mean = values.mean(over)
        packed[:channels] = mean
        packed[channels:-1] = (values - _along(mean, values)).square_().sum(over)
        packed[-1] = count
    gathered = [torch.empty_like(packed) for _ in range(_processes(group))]
    dist.all_gather(gathered, packed, group=group)
    table = torch.stack(gathered).double()
    merged, variance, total = merge_moments(
        table[:, :channels], table[:, channels:-1], table[:, -1])
    return merged.to(values.dtype), variance.to(values.dtype), total


class _Normalize(torch.autograd.Function):
    """(x - mean) * invstd * weight + bias, with the gradient through the shared statistics."""

    @staticmethod
    def forward(
        ctx: Any, input: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None,
        mean: torch.Tensor, invstd: torch.Tensor, count: int, group: Any,
    ) -> torch.Tensor:
        ctx.save_for_backward(input, weight, mean, invstd)
        ctx.count, ctx.group = count, group
        output = input.to(mean.dtype) - _along(mean, input)
        output = output.mul_(_along(_scale(invstd, weight), input))
        if bias is not None:
            output = output.add_(_along(bias.to(mean.dtype), input))
        return output.to(input.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[Any, ...]:
        input, weight, mean, invstd = ctx.saved_tensors
        grad = grad_output.to(mean.dtype)
        normed = (input.to(mean.dtype) - _along(mean, input)).mul_(_along(invstd, input))
        over = _all_but_channels(input)
        own = torch.stack([grad.sum(over), (grad * normed).sum(over)])
        # Also where this input needs no gradient: another process's may, and waits.
        total = own.clone()
        dist.all_reduce(total, group=ctx.group)
        total /= max(ctx.count, 1)
        grad_input = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            grad_input = grad - _along(total[0], input) - normed.mul_(_along(total[1], input))
            grad_input = grad_input.mul_(_along(_scale(invstd, weight), input)).to(input.dtype)
        if ctx.needs_input_grad[1]:
            grad_weight = own[1].to(weight.dtype)
        if ctx.needs_input_grad[2]:
            grad_bias = own[0].to(weight.dtype)
        return grad_input, grad_weight, grad_bias, None, None, None, None


def _scale(invstd: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    return invstd if weight is None else invstd * weight.to(invstd.dtype)


def _all_but_channels(tensor: torch.Tensor) -> list[int]:
    return [0, *range(2, tensor.dim())]


def _along(vector: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """A vector per channel, shaped to broadcast against a tensor of shape (N, C, ...)."""
    return vector.view(1, -1, *[1] * (tensor.dim() - 2))
