"""A small real timm training, built from timm's public parts, for the evidence's tests."""

from __future__ import annotations

import types
from contextlib import nullcontext

import torch
from timm.data import Mixup
from timm.optim import create_optimizer_v2, optimizer_kwargs
from timm.scheduler import create_scheduler_v2, scheduler_kwargs
from timm.task import ClassificationTask
from torch import nn

from tricks_plugin.common.finite import NonFinite
from tricks_plugin.plan import TRICKS, Plan, TrickPlan
from tricks_plugin.timm.evidence import TimmEvidence

DEFAULTS = dict(
    model='toy', num_classes=5, batch_size=8, grad_accum_steps=1, rank=0, world_size=1,
    aug_splits=0, pretrained=False, initial_checkpoint='', resume='', model_kwargs={},
    torchcompile=None, torchscript=False, opt='sgd', momentum=0.9, weight_decay=1e-4,
    opt_kwargs={}, opt_eps=None, opt_betas=None, layer_decay=None, layer_decay_min_scale=0.0,
    layer_decay_no_opt_scale=None, lr=0.1, lr_base=0.1, lr_base_size=256, lr_base_scale='',
    sched='cosine', sched_on_updates=True, epochs=4, warmup_epochs=0, warmup_prefix=False,
    warmup_lr=1e-5, min_lr=0.0, cooldown_epochs=0, decay_milestones=[90, 180, 270],
    decay_epochs=90, decay_rate=0.1, patience_epochs=10, lr_noise=None, lr_noise_pct=0.67,
    lr_noise_std=1.0, lr_cycle_mul=1.0, lr_cycle_decay=0.5, lr_cycle_limit=1, lr_k_decay=1.0,
    seed=42, eval_metric='top1', mixup=0.0, cutmix=0.0, cutmix_minmax=None, mixup_prob=1.0,
    mixup_switch_prob=0.5, mixup_mode='batch', mixup_off_epoch=0, smoothing=0.0,
    train_img_sizes=None, train_batch_sizes=None, train_size_probs=None,
    train_size_schedule='constant', amp=False, amp_dtype='float16', model_ema=False,
    model_ema_decay=0.9998, model_ema_warmup=False, sync_bn=False, channels_last=False,
    pin_mem=False)


class Toy(nn.Module):
    """One convolution with norm, and a linear head."""

    def __init__(self, classes=5):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, classes)

    def forward(self, images):
        return self.fc(self.bn(self.conv(images)).relu().mean((2, 3)))


def build(updates_per_epoch=4, start_epoch=0, model=None, output_dir=None, loss=None, **flags):
    """A `Run` as `tricks_plugin.timm.build` makes it, without data."""
    torch.manual_seed(0)
    args = types.SimpleNamespace(**{**DEFAULTS, **flags})
    model = Toy(args.num_classes) if model is None else model
    mixed = args.mixup > 0 or args.cutmix > 0
    task = ClassificationTask(model=model, verbose=False, criterion_kwargs=dict(
        smoothing=args.smoothing, soft_targets=mixed, **(loss or {})))
    optimizer = create_optimizer_v2(model, **optimizer_kwargs(cfg=args), **args.opt_kwargs)
    if args.model_ema:
        task.setup_ema(decay=args.model_ema_decay, use_warmup=args.model_ema_warmup)
    scheduler, epochs = create_scheduler_v2(
        optimizer, updates_per_epoch=updates_per_epoch, **scheduler_kwargs(args))
    mixup = Mixup(mixup_alpha=args.mixup, cutmix_alpha=args.cutmix, prob=args.mixup_prob,
                  mode=args.mixup_mode, label_smoothing=args.smoothing,
                  num_classes=args.num_classes) if mixed else None
    return types.SimpleNamespace(
        args=args, device=torch.device('cpu'), task=task, model=model, optimizer=optimizer,
        scheduler=scheduler, loader_train=None, mixup=mixup, loss_scaler=None,
        autocast=nullcontext, model_dtype=torch.float32, updates_per_epoch=updates_per_epoch,
        num_epochs=epochs, start_epoch=start_epoch, reference_batch=float(args.batch_size),
        output_dir=output_dir, watch=NonFinite())


def plan_of(run, *names, status='applied'):
    """A plan with these tricks, and the promises that the run's settings let them make."""
    return Plan('', tuple(
        TrickPlan(name, status, '', promise=TRICKS.get(name).timm_promise(vars(run.args)))
        for name in names))


def watched(run, *names, strict=False, settings=None):
    """The evidence of a run whose plan has these tricks; not started."""
    return TimmEvidence(run, {**vars(run.args), **(settings or {})},
                        plan_of(run, *names) if names else None, strict)


def train(run, *names, epochs=None, off_works=True, late=0, step=True, side=8, strict=False,
          average=True, classes=None, settings=None, meddle=None):
    """Trains on noise and returns the evidence before it is closed.

    ``late`` shifts the numbers of the updates that the scheduler is told, ``off_works`` says
    whether mixup heeds its off epoch, ``classes`` fixes the labels, ``settings`` are those that
    the trainer has resolved since, ``meddle(n)`` is called before the n-th batch, from 0.
    """
    evidence = watched(run, *names, strict=strict, settings=settings)
    evidence.start()
    update = run.start_epoch * run.updates_per_epoch
    noise = torch.Generator().manual_seed(1)
    args, seen = run.args, 0
    if run.scheduler is not None and args.sched_on_updates and update:
        run.scheduler.step_update(update)
    for epoch in range(run.start_epoch, epochs or run.num_epochs):
        if run.mixup is not None and off_works and args.mixup_off_epoch:
            run.mixup.mixup_enabled = epoch < args.mixup_off_epoch
        for index in range(run.updates_per_epoch * args.grad_accum_steps):
            if meddle is not None:
                meddle(seen)
            seen += 1
            images = torch.randn(args.batch_size, 3, side, side, generator=noise)
            targets = torch.randint(args.num_classes, (args.batch_size,), generator=noise)
            if classes is not None:
                targets = torch.tensor(classes)
            if run.mixup is not None:
                images, targets = run.mixup(images, targets)
            if args.channels_last:
                images = images.contiguous(memory_format=torch.channels_last)
            evidence.on_batch(epoch, images, targets)
            with run.autocast():
                loss = run.task(images, targets)['loss']
            loss.backward()
            complete = (index + 1) % args.grad_accum_steps == 0
            if complete:
                if step:
                    run.optimizer.step()
                run.optimizer.zero_grad()
                run.watch.add(loss)
                update += 1
                if average:
                    run.task.update_ema(step=update)
            evidence.after_batch(loss.detach())
            if complete and run.scheduler is not None:
                run.scheduler.step_update(num_updates=update + late)
        evidence.epoch_end(epoch)
        if run.scheduler is not None:
            run.scheduler.step(epoch + 1 + late, None)
    return evidence


def found(evidence, name):
    """The finding of a row."""
    return evidence.monitor.measurements[name].finding(evidence.training)
