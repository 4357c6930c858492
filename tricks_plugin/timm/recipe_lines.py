"""The lines of the recipes for timm's own script: which settings, and the paper's value of each."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable

__all__ = ['RECIPES', 'Sheet']

_Comment = str | Callable[[argparse.Namespace], str]


@dataclasses.dataclass(frozen=True)
class Sheet:
    """A recipe's file.

    Attributes:
        title: What it is, to follow "# " and go before the command that trains with it.
        model: The model of that command.
        lines: Settings in order, each with its comment; a name in ``()`` is a comment alone.
        optional: The settings that have a line only where they are not timm's default.
    """

    title: str
    model: str
    lines: dict[str, _Comment]
    optional: tuple[str, ...] = (
        'model', 'device', 'num_classes', 'img_size', 'channels_last', 'pin_mem', 'opt_kwargs',
        'model_kwargs', 'amp_dtype')


def _lr(args: argparse.Namespace) -> str:
    return f'{args.lr_base:g} x {args.batch_size} / {args.lr_base_size} = ' \
           f'{args.lr_base * args.batch_size / args.lr_base_size:.6g}'


def _cosine_epochs(args: argparse.Namespace) -> str:
    total, warmup = args.epochs + args.warmup_epochs, args.warmup_epochs
    return ("Paper: 200 with mixup, 120 without (section 5.5). The cosine's epochs: "
            f'{total} - {warmup} of warm-up, which timm adds (until 1.0.11 it does not, and stops '
            "that many epochs before the cosine's end).")


def _smoothing(args: argparse.Namespace) -> str:
    count = 1000 if args.num_classes is None else args.num_classes
    if count < 2:
        return "timm's own default: there are no targets to smooth over one class."
    return (f'Paper: eps=0.1, targets 1-eps and eps/(K-1) (sections 5.2 and 5.5). timm\'s targets '
            'are 1-s+s/K and s/K, the same two for s = eps*K/(K-1) = '
            f'0.1*{count}/{count - 1} (K={count}): s/K = 0.1/{count - 1}, and '
            f'1-s*{count - 1}/{count} = 0.9.')


def _milestones(args: argparse.Namespace) -> str:
    points = ', '.join(str(one - 1) for one in args.decay_milestones)
    return ("Paper: falls at epochs 30, 60 and 90 of 120 (section 2.1). timm's multistep falls one "
            f'epoch before each milestone: at {points} of {args.epochs}.')


_FIRST: dict[str, _Comment] = {
    'model': 'The model that the settings below were planned for.',
    'device': 'Where to train.',
    'num_classes': 'K, the number of classes. Must be that of smoothing.',
    'img_size': 'Side of the images at evaluation, in px.',
}
_SGD: dict[str, _Comment] = {
    'opt': "Paper: SGD with Nesterov momentum (section 2.1). timm's sgd is the Nesterov form.",
    'momentum': "Paper: 0.9 (authors' training settings).",
    'weight_decay': "Paper: 1e-4 (authors' training settings). timm's own default is 2e-5.",
}
_IMAGES: dict[str, _Comment] = {
    'cutmix': 'Paper: no cutmix.',
    'scale': "Paper: 8 % to 100 % of the image's area (section 2.1).",
    'ratio': 'Paper: aspect from 3/4 to 4/3 (section 2.1).',
    'hflip': 'Paper: 0.5 (section 2.1).',
    'color_jitter': "Paper: 0.4 for brightness, saturation and hue (section 2.1). timm's single "
                    'number is for brightness, contrast and saturation. The paper\'s PCA noise '
                    '(section 2.1): timm has none.',
}
_BAG: dict[str, _Comment] = {
    **_FIRST,
    'batch_size': lambda args: (
        'Paper: 1024, as 8 GPUs of 128 (section 3). Images per process. The rule below gives an LR '
        f'of {_lr(args)} for each process.'),
    **_SGD,
    '(no bias decay)': (
        'No decay on biases and norms (section 3.1) has no line: timm exempts all parameters of '
        'one dimension by itself.'),
    '(zero-gamma)': (
        "Zero-gamma (section 3.1) has no line: timm's ResNets start the last norm of each block at "
        '0 by themselves (zero_init_last), and other models refuse to be given that argument.'),
    'lr_base': (
        'LR in proportion to the batch (section 3.1): 0.1 for 256 images. timm multiplies by '
        'batch_size x processes x grad_accum_steps / 256: 8 x 128 = 1024 images give 0.4, one '
        'process of 128 gives 0.05.'),
    'lr_base_size': 'The 256 of that rule (section 3.1).',
    'lr_base_scale': (
        "The rule is linear (section 3.1); for Adam and LAMB timm's own default is the square "
        'root.'),
    'sched': 'Paper: cosine (section 5.1).',
    'sched_on_updates': (
        "Paper: the LR changes with every update (section 5.1). timm's own default is once per "
        'epoch.'),
    'warmup_epochs': (
        'Paper: 5 of 120 or 200 (section 3.1). In epochs: a twentieth of the run, from 1 to 5.'),
    'warmup_lr': "Paper: from 0, linearly (section 3.1). timm's own default is 1e-5.",
    'warmup_prefix': (
        "Paper: the cosine starts where the warm-up ends (section 5.1). timm's own default lets it "
        'run below the warm-up, so that the LR never is what the rule above says.'),
    'min_lr': 'Paper: the cosine ends at 0 (section 5.1).',
    'epochs': _cosine_epochs,
    'smoothing': _smoothing,
    'mixup': 'Paper: Beta(0.2, 0.2) (section 5.5).',
    'mixup_prob': 'Paper: every batch (section 5.4).',
    'mixup_mode': 'One ratio per batch, as the authors trained; timm also has pair and elem.',
    'mixup_off_epoch': (
        'Paper: mixup to the end (0 = never off). A number here does not reach the data workers of '
        "timm's script (checked in 1.0.31); tools/timm_train.py switches them too."),
    **_IMAGES,
    'amp': 'Paper: 16-bit mixed precision (section 3.2).',
    'amp_dtype': (
        'Paper: float16 (section 3.2). bfloat16 needs no loss scaling; GPUs older than NVIDIA\'s '
        'Ampere lack it: give them --amp-dtype float16.'),
}
_FAST: dict[str, _Comment] = {
    **_BAG,
    'channels_last': (
        'Not in the paper: channels together in memory, the layout in which 16-bit convolutions of '
        'GPUs compute. The arithmetic stays.'),
    'pin_mem': (
        'Not in the paper: batches in page-locked memory, from which copies to a GPU do not wait.'),
}
_BASELINE: dict[str, _Comment] = {
    **_FIRST,
    'batch_size': lambda args: (
        'Paper: 256, as 8 GPUs of 32 (section 2.1). Images per process. The rule below gives an LR '
        f'of {_lr(args)} for each process.'),
    **_SGD,
    'opt_kwargs': (
        'Decay on all parameters, biases and norms too (section 3.1 calls it the usual way). '
        "timm's own default is true. --opt-kwargs on the command line replaces the whole of this "
        'line.'),
    'model_kwargs': (
        "Every norm's scale starts at 1 (section 3.1). timm's own default is true. Other models "
        'than ResNets refuse the argument: delete this line for them.'),
    'lr_base': 'Paper: 0.1 for 256 images (section 2.1). timm multiplies by batch_size x processes '
               'x grad_accum_steps / 256.',
    'lr_base_size': 'The 256 of that rule (section 3.1).',
    'lr_base_scale': 'The rule is linear (section 3.1).',
    'sched': 'Paper: steps (section 2.1).',
    'decay_milestones': _milestones,
    'decay_rate': 'Paper: a tenth each time (section 2.1).',
    'sched_on_updates': 'The LR changes at the ends of epochs only (section 2.1).',
    'warmup_epochs': 'Paper: no warm-up in the baseline (section 2.1).',
    'epochs': 'Paper: 120 (section 2.1). For an equal budget give the bag the same --epochs.',
    'smoothing': "Paper: hard labels in the baseline (section 5.2). timm's own default is 0.1.",
    'mixup': 'Paper: no mixup in the baseline (section 5.4).',
    **_IMAGES,
    'amp': 'Paper: 32-bit in the baseline (section 3.2).',
}

RECIPES: dict[str, Sheet] = {
    'bag_of_tricks': Sheet('The bag of tricks for image classification', 'resnet50d', _BAG),
    'bag_of_tricks_fast': Sheet(
        'The bag of tricks for image classification and options for speed', 'resnet50d', _FAST),
    'baseline_step': Sheet(
        'What the bag of tricks is measured against, without the tricks among timm\'s defaults',
        'resnet50', _BASELINE),
}
