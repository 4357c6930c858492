"""What the trainer builds is what timm's library builds from the same flags."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from timm.loss import BinaryCrossEntropy, LabelSmoothingCrossEntropy, SoftTargetCrossEntropy
from timm.models import create_model, load_checkpoint
from timm.optim import create_optimizer_v2
from timm.task import ClassificationTask, resume_task_checkpoint
from torch import nn

from tricks_plugin.plan.errors import TrickError
from tricks_plugin.timm.build import build_run
from tricks_plugin.timm.loop import train_epoch
from tricks_plugin.timm.output import Output
from tricks_plugin.timm.progress import Progress
from tricks_plugin.timm.run import Run

pytestmark = pytest.mark.slow

Settings = Callable[..., argparse.Namespace]


class Nobody:
    """An observer that looks away."""

    def on_ask(self, first: bool) -> None:
        pass

    def on_batch(self, epoch: int, images: torch.Tensor, targets: torch.Tensor) -> None:
        pass

    def after_batch(self, loss: torch.Tensor) -> None:
        pass


def build(args: argparse.Namespace) -> Run:
    return build_run(args, torch.device('cpu'))


def names_by_group(optimizer: torch.optim.Optimizer, model: nn.Module) -> list[tuple[float, set]]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [(group['weight_decay'], {names[id(parameter)] for parameter in group['params']})
            for group in optimizer.param_groups]


@pytest.mark.parametrize('words', [(), ('--opt', 'adamw', '--weight-decay', '0.05'),
                                   ('--layer-decay', '0.7'),
                                   ('--opt-kwargs', 'filter_bias_and_bn=False')])
def test_parameter_groups_are_timms(settings: Settings, words: tuple[str, ...]) -> None:
    args = settings(*words, '--lr', '0.3')
    run = build(args)
    model = create_model('resnet18', layers=(1, 1, 1, 1), channels=(8, 8, 8, 16), num_classes=3)
    twin = create_optimizer_v2(
        model, opt=args.opt, lr=0.3, weight_decay=args.weight_decay, momentum=0.9,
        layer_decay=args.layer_decay, layer_decay_min_scale=args.layer_decay_min_scale,
        **args.opt_kwargs)
    assert names_by_group(run.optimizer, run.model) == names_by_group(twin, model)
    assert [group.get('lr_scale') for group in run.optimizer.param_groups] == \
        [group.get('lr_scale') for group in twin.param_groups]


def test_biases_and_norms_are_exempt_from_decay_by_a_count_of_their_own(
    settings: Settings,
) -> None:
    run = build(settings('--weight-decay', '1e-4'))
    exempt = {name for decay, names in names_by_group(run.optimizer, run.model) if decay == 0
              for name in names}
    expected = {f'{name}.{part}' if name else part for name, module in run.model.named_modules()
                for part, _ in module.named_parameters(recurse=False)
                if isinstance(module, nn.BatchNorm2d) or part == 'bias'}
    # Four blocks of three norms each, the stem's norm, and the classifier's bias.
    assert exempt == expected and len(exempt) == 4 * 6 + 2 + 1


@pytest.mark.parametrize(('words', 'kind'), [
    (('--smoothing', '0'), nn.CrossEntropyLoss),
    (('--smoothing', '0.1'), LabelSmoothingCrossEntropy),
    (('--mixup', '0.2'), SoftTargetCrossEntropy),
    (('--bce-loss',), BinaryCrossEntropy),
    # timm's script falls back to softmax here without a word (its main branch of August 2026).
    (('--bce-loss', '--smoothing', '0'), BinaryCrossEntropy),
    (('--bce-loss', '--mixup', '0.2'), BinaryCrossEntropy),
])
def test_the_criterion_is_timms(settings: Settings, words: tuple[str, ...], kind: type) -> None:
    assert type(build(settings(*words)).task.criterion) is kind


def test_the_weights_start_as_timms_do_for_a_seed(settings: Settings) -> None:
    from timm import utils
    run = build(settings('--seed', '11'))
    utils.random_seed(11, 0)
    model = create_model('resnet18', layers=(1, 1, 1, 1), channels=(8, 8, 8, 16), num_classes=3,
                         drop_rate=0.0)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(run.model.state_dict()[name], value, rtol=0, atol=0)


def test_a_checkpoint_loads_in_timm(settings: Settings, tmp_path: Path) -> None:
    args = settings('--output', str(tmp_path), '--experiment', 'run', '--model-ema', '--lr', '0.1')
    run = build(args)
    output = Output(run, 'text: 1\n', None)
    train_epoch(run, 0, Nobody(), Progress(1, shown=False))
    output.epoch(0, {'loss': 1.0}, {'loss': 1.0, 'top1': 30.0, 'top5': 100.0})
    path = str(tmp_path / 'run' / 'last.pth.tar')
    options = dict(layers=(1, 1, 1, 1), channels=(8, 8, 8, 16), num_classes=3)

    # timm loads only what is known to be safe, for which torch has had a list since 2.4.
    safe = hasattr(torch.serialization, 'safe_globals')
    model = create_model('resnet18', checkpoint_path=path if safe else '', **options)
    if not safe:
        load_checkpoint(model, path, weights_only=False)
    # Both take the average where there is one.
    average = run.task.get_trainable_module(ema=True).module.state_dict()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, average[name], rtol=0, atol=0)

    fresh = ClassificationTask(create_model('resnet18', **options))
    optimizer = create_optimizer_v2(fresh.trainable_module, opt='sgd', lr=0.1, momentum=0.9,
                                    weight_decay=2e-5)
    assert resume_task_checkpoint(fresh, path, optimizer=optimizer, weights_only=safe) == 1
    for name, value in run.model.state_dict().items():
        torch.testing.assert_close(fresh.trainable_module.state_dict()[name], value, rtol=0, atol=0)
    assert len(optimizer.state) == len(run.optimizer.state) > 0


def test_a_checkpoint_of_another_model_is_refused(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / 'other.pth.tar'
    torch.save({'state_dict': {'head.weight': torch.zeros(2)}, 'epoch': 3}, path)
    with pytest.raises(TrickError, match=r'--resume .*other.pth.tar does not belong to --model '
                                         'resnet18 with 3 classes: .*Missing key'):
        build(settings('--resume', str(path)))


def test_wrong_model_arguments_are_named(settings: Settings) -> None:
    with pytest.raises(TrickError, match="--model resnet18 with --model-kwargs .*'depht'"):
        build(settings('--model-kwargs', 'depht=3'))
