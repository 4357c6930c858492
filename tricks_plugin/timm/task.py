"""timm's task of a training: the student alone, or with a teacher."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

import torch
from timm.models import create_model
from timm.task import ClassificationTask, DistillationTeacher, LogitDistillationTask

from .boundary import naming
from .teacher import load_weights

__all__ = ['build_task']


def build_task(
    model: Any, args: argparse.Namespace, data_config: Mapping[str, Any], mixed: bool,
    device: torch.device, dtype: torch.dtype,
) -> Any:
    """The task of timm: what computes the loss of a batch.

    Args:
        model: The student, on its device.
        args: timm's settings; ``num_classes`` must be known.
        data_config: What the loader does to the images.
        mixed: Whether targets arrive mixed, and so smoothed.
        device: Where to train.
        dtype: Of the weights.

    Raises:
        TrickError: If the teacher cannot be built, or its weights belong to another model.
    """
    options: dict[str, Any] = dict(criterion_kwargs=_loss(args, mixed), device=device, dtype=dtype,
                                   verbose=args.rank == 0)
    if args.kd_model_name is None:
        return ClassificationTask(model=model, **options)
    task = LogitDistillationTask(
        student_model=model, teacher_model=_teacher(args, data_config, device, dtype),
        loss_type=args.kd_loss_type, distill_loss_weight=args.distill_loss_weight,
        task_loss_weight=args.task_loss_weight, temperature=args.kd_temperature, **options)
    # timm takes the student's published normalisation, which --mean and --std may have changed.
    for name in ('mean', 'std'):
        value = torch.tensor(data_config[name], device=device, dtype=dtype).view(1, -1, 1, 1)
        setattr(task, f'student_{name}', value)
    return task


def _teacher(args: argparse.Namespace, data_config: Mapping[str, Any], device: torch.device,
             dtype: torch.dtype) -> DistillationTeacher:
    """The teacher with its weights, frozen."""
    flag = f'--kd-model-name {args.kd_model_name}'
    with naming(flag):
        model = create_model(
            args.kd_model_name, pretrained=not args.kd_checkpoint, num_classes=args.num_classes,
            in_chans=data_config['input_size'][0])
    if args.kd_checkpoint:
        load_weights(model, args.kd_model_name, args.kd_checkpoint)
    model.to(device=device, dtype=dtype).requires_grad_(False)
    return DistillationTeacher(model, device=device, dtype=dtype).eval()


def _loss(args: argparse.Namespace, mixed: bool) -> dict[str, Any]:
    """The settings of timm's criterion; mixup smooths the targets itself."""
    kind = 'jsd' if args.jsd_loss else 'bce' if args.bce_loss else 'ce'
    options: dict[str, Any] = dict(loss_type=kind, smoothing=args.smoothing, soft_targets=mixed)
    if kind == 'bce':
        options.update(bce_target_thresh=args.bce_target_thresh, bce_sum=args.bce_sum,
                       pos_weight=args.bce_pos_weight)
    elif kind == 'jsd':
        options.update(jsd_splits=args.aug_splits, soft_targets=False)
    return options
