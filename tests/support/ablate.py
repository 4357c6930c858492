"""Studies with hand-chosen values, for the tests of statistics and reports, and to look at."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from tricks_plugin.ablate.study import Point, Run, Rung, Study, Subject, TrickCheck

ENVIRONMENT = {'machine': 'AMD EPYC 7B13, 1 thread a run', 'Python': '3.11.7', 'torch': '2.11.0',
               'onedl-mmdetection': '3.5.1', 'tricks_plugin': '0.1.0, code 8f31c0de'}
STACK = ('linear_lr', 'cosine_warmup', 'mixup', 'label_smoothing', 'no_bias_decay', 'ema')
BASE = (61.0, 62.2, 60.1)
# Paired differences to the rung before, in points, one per seed 0, 1, 2.
STEPS = (
    (1.0, 2.0, 3.0),     # mean 2, sd 1: t interval 2 +- 4.3027 / sqrt(3) = [-0.484, 4.484]
    (0.9, 1.1, 1.0),     # mean 1, sd 0.1: [0.752, 1.248]: gains
    (-1.1, -0.9, -1.0),  # loses
    (0.0, 0.0, 0.0),     # nothing moved
    (0.4, -0.3, 0.6),    # not shown
    (0.7, 0.8, 0.5),     # gains
)
DIFF = """--- the config as it is
+++ {trick}
@@ -12,7 +12,9 @@
 train_cfg = dict(max_epochs=60)
-optim_wrapper = dict(optimizer=dict(lr=0.001, type='SGD'))
+optim_wrapper = dict(optimizer=dict(lr=0.0005, type='SGD'))
+custom_hooks = [dict(type='tricks_plugin.{trick}', note='<b>& "quoted"</b>')]
 val_dataloader = dict(batch_size=8)
"""


def curve(value: float, seconds: float, epochs: int = 12, speed: float = 0.45) -> tuple[Point, ...]:
    """A curve that ends exactly with ``value``, after ``seconds``."""
    top = 1 - math.exp(-speed * epochs)
    return tuple(Point(epoch, epoch * 65, seconds * epoch / epochs,
                       value * (1 - math.exp(-speed * epoch)) / top)
                 for epoch in range(1, epochs + 1))


def make_run(subject: str, rung: str, seed: int, value: float, seconds: float = 600.0,
             tricks: Sequence[str] = (), **changes: object) -> Run:
    """A finished run whose tricks were live."""
    run = Run(subject, rung, seed, 'finished', value, curve(value, seconds), seconds, 1480.0,
              tuple(TrickCheck(trick, True, f'{trick}: at work in 40 of 40 looks')
                    for trick in tricks),
              folder=f'runs/{rung}/seed{seed}', machine='AMD EPYC 7B13', code='8f31c0de')
    return dataclasses.replace(run, **changes)


def plan_row(trick: str) -> dict:
    return {'name': trick, 'status': 'applied', 'reason': f'{trick} fits this run of 3 900 updates',
            'changes': [{'path': 'optim_wrapper.optimizer.lr', 'before': 0.001, 'after': 0.0005}]}


def make_subject(tricks: Sequence[str], mode: str, name: str = 'yolov3',
                 **kwargs: object) -> Subject:
    """A subject with a first rung and one rung per trick (in leave-one-out one more with all)."""
    rungs = [Rung('baseline', 'the config as it is')]
    if mode == 'leave-one-out':
        rungs.append(Rung('all', 'all tricks', list(tricks), 'baseline',
                          tuple(map(plan_row, tricks)), DIFF.format(trick='all')))
    for index, trick in enumerate(tricks):
        if mode == 'stack':
            parts, before, sign = tricks[:index + 1], rungs[-1].name, '+ '
        elif mode == 'leave-one-out':
            parts, before, sign = [t for t in tricks if t != trick], 'all', '− '
        else:
            parts, before, sign = [trick], 'baseline', ''
        rungs.append(Rung(trick, f'{sign}{trick}', list(parts), before,
                          tuple(map(plan_row, parts)), DIFF.format(trick=trick)))
    return Subject(name, str(kwargs.pop('label', 'YOLOv3, EfficientNet-Lite0, blood cells')),
                   tuple(rungs), **{'parameters': 41_200_000, 'images_per_s': 38.4, **kwargs})


def make_study(steps: Sequence[Sequence[float]] = STEPS, tricks: Sequence[str] = STACK,
               mode: str = 'stack', base: Sequence[float] = BASE, **changes: object) -> Study:
    """A study whose rungs differ from their reference by ``steps`` points, seed by seed."""
    subject = make_subject(tricks, mode)
    seeds = tuple(range(len(base)))
    values = {subject.rungs[0].name: list(base)}
    for rung, step in zip(subject.rungs[1:], steps, strict=True):
        values[rung.name] = [a + b for a, b in zip(values[rung.reference], step, strict=True)]
    runs = tuple(
        make_run(subject.name, rung.name, seed, values[rung.name][seed] / 100,
                 600.0 * (1 + 0.03 * index) + seed, rung.tricks or (),
                 memory_mb=1480.0 + 25 * index)
        for index, rung in enumerate(subject.rungs) for seed in seeds)
    study = Study(
        f'tricks ablate configs/bccd/yolov3_bccd.py --tricks bag_of_freebies --mode {mode} '
        f'--seeds {len(seeds)} --out work_dirs/ablate', mode, 'coco/bbox_mAP', True, 'mAP points',
        100.0, seeds, (subject,), runs, dict(ENVIRONMENT),
        ('Images of 192 px, 60 epochs, ImageNet backbone.',))
    return dataclasses.replace(study, **changes)


def replace_run(study: Study, rung: str, seed: int, **changes: object) -> Study:
    """The study with one run changed."""
    return dataclasses.replace(study, runs=tuple(
        dataclasses.replace(run, **changes) if (run.rung, run.seed) == (rung, seed) else run
        for run in study.runs))


def troubled() -> Study:
    """A stack in which runs failed, wait and run, and one trick was not live in one of them."""
    study = replace_run(make_study(), 'ema', 2, status='failed', value=None, curve=(),
                        seconds=None, memory_mb=None, checks=(),
                        error='RuntimeError: loss is nan at iteration 812')
    study = replace_run(study, 'ema', 1, status='running', value=None, seconds=211.0)
    study = replace_run(study, 'no_bias_decay', 1, checks=(
        TrickCheck('no_bias_decay', False, '12 biases decay with 5e-4'),
        TrickCheck('mixup', True, 'lam 0.11 to 0.93 in 40 batches')))
    return replace_run(study, 'mixup', 0, checks=(TrickCheck('mixup', None, 'too early to tell'),))


def zoo(models: Sequence[tuple[str, float, float, float, float]] = (
        ('ResNet-18', 71.2, 2.1, 410.0, 900.0), ('MobileNetV3-Small', 63.4, -0.4, 980.0, 520.0),
        ('EfficientNet-Lite0', 70.3, 1.2, 395.0, 1010.0), ('RepVGG-A0', 70.9, 3.0, 640.0, 760.0)),
        seeds: Sequence[int] = (0, 1, 2)) -> Study:
    """Models (label, top-1, gain, images a second, training seconds) without and with the bag."""
    subjects, runs = [], []
    for label, top1, gain, speed, seconds in models:
        name = label.lower().replace(' ', '_')
        rungs = (Rung('without', 'without'),
                 Rung('with', 'with the bag', 'bag_of_tricks', 'without', (plan_row('mixup'),),
                      DIFF.format(trick='mixup')))
        subjects.append(Subject(name, label, rungs, 11_700_000, speed))
        for seed in seeds:
            wobble = (0.3, -0.2, -0.1)[seed % 3]
            runs.append(make_run(name, 'without', seed, (top1 + wobble) / 100, seconds + seed))
            runs.append(make_run(name, 'with', seed, (top1 + gain + wobble * 2) / 100,
                                 1.07 * seconds + seed, ('mixup',)))
    return Study('tricks ablate timm --tricks bag_of_tricks --seeds 3 --out work_dirs/zoo -- '
                 'cifar10 --model resnet18 ...', 'whole', 'top1', True, '%', 100.0, tuple(seeds),
                 tuple(subjects), tuple(runs), dict(ENVIRONMENT))
