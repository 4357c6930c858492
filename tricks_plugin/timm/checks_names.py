"""Tries the settings that timm and torch resolve themselves, and names the flag that fails."""

from __future__ import annotations

import argparse
import copy
import itertools
from collections.abc import Callable

from tricks_plugin.plan.errors import TrickError, did_you_mean

from .facts import facts, model_arguments
from .flags import FLAGS

__all__ = ['check_device', 'check_names']


def check_names(args: argparse.Namespace) -> None:
    """Builds what costs nothing: the model without memory, its optimizer on two weights, ...

    Args:
        args: timm's settings, each sound by itself. The mean and deviation fit the channels.

    Raises:
        TrickError: Where timm or torch refuses; names the flag without which it would not.
    """
    _check_words(args)
    _try(args, 'optimizer', 'opt', _build_optimizer)
    _try(args, 'schedule', 'sched', _run_schedule)
    if not args.no_aug:
        _try(args, 'transform', 'aa', _build_transform)
    if ':' not in args.model:
        _try(args, 'model', 'model', _run_model)
    if args.torchcompile:
        import torch
        known = torch.compiler.list_backends(exclude_tags=())
        if args.torchcompile not in known:
            raise TrickError(f'--torchcompile must be one of {", ".join(known)}, '
                             f'got {args.torchcompile!r}')


def check_device(args: argparse.Namespace) -> None:
    """Refuses a device that torch does not find; no memory of a GPU is touched."""
    import torch
    try:
        device = torch.device(args.device)
        if device.type not in ('cpu', 'cuda'):
            torch.zeros(1, device=device).item()
    except Exception as error:
        raise _refusal('device', args, error) from error
    if device.type != 'cuda':
        return
    if not torch.cuda.is_available():
        raise TrickError(f'--device must be one that torch finds, got {args.device!r} without '
                         'CUDA: give --device cpu')
    if (device.index or 0) >= torch.cuda.device_count():
        raise TrickError(f'--device must be one of the {torch.cuda.device_count()} GPUs that torch '
                         f'finds, counted from 0, got {args.device!r}')


def _check_words(args: argparse.Namespace) -> None:
    """The model and the optimizer must be known to the timm that is installed."""
    import timm
    from timm.optim import list_optimizers
    if ':' not in args.model and not timm.is_model(args.model.split('.')[0]):
        raise TrickError(f'--model must be a model that timm knows, got {args.model!r}'
                         f'{did_you_mean(args.model.split(".")[0].lower(), timm.list_models())}')
    if args.kd_model_name is not None:
        from .teacher import check_teacher
        settings = vars(args)
        check_teacher(args.kd_model_name, args.kd_checkpoint, {**settings, **facts(settings)})
    optimizer = args.opt.lower().split('_')[-1]  # as timm reads lookahead_NAME
    known = list_optimizers()
    if optimizer not in known:
        raise TrickError(f'--opt must be an optimizer that timm knows, got {args.opt!r}'
                         f'{did_you_mean(optimizer, known)}')


def _try(
    args: argparse.Namespace, part: str, main: str, build: Callable[[argparse.Namespace], None],
) -> None:
    """Builds; where that fails, blames the first setting at whose default it would not.

    The table's last rows are the finest, and are tried first; ``main`` is tried last. Where it
    takes several, the first that the error names is blamed, or ``main``.
    """
    try:
        build(args)
    except Exception as error:  # timm asserts, and torch raises what it likes
        names = [name for name, row in reversed(FLAGS.items())
                 if row.builds == part and name != main] + [main]
        given = [name for name in names if getattr(args, name) != FLAGS[name].default]
        alone = (name for name in given if _works(build, argparse.Namespace(
            **{**vars(args), name: copy.deepcopy(FLAGS[name].default)})))
        named = (name for name in given if name in str(error))
        raise _refusal(next(itertools.chain(alone, named), main), args, error) from error


def _works(build: Callable[[argparse.Namespace], None], args: argparse.Namespace) -> bool:
    try:
        build(args)
    except Exception:
        return False
    return True


def _refusal(name: str, args: argparse.Namespace, error: Exception) -> TrickError:
    reason = ' '.join(f'{type(error).__name__}: {error}'.split()).rstrip(':.')
    return TrickError(f'{FLAGS[name].long} cannot be used: {reason}, got {getattr(args, name)!r}')


def _build_optimizer(args: argparse.Namespace) -> None:
    import torch
    from timm.optim import create_optimizer_v2, optimizer_kwargs
    settings = {**optimizer_kwargs(cfg=args), 'lr': args.lr or args.lr_base}
    create_optimizer_v2(torch.nn.Linear(2, 2), **settings, **args.opt_kwargs)


def _run_schedule(args: argparse.Namespace) -> None:
    """Asks the schedule for its length, and for the LR at some epochs."""
    import torch
    from timm.scheduler import create_scheduler_v2, scheduler_kwargs
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=args.lr or args.lr_base)
    scheduler, epochs = create_scheduler_v2(
        optimizer, updates_per_epoch=1, **scheduler_kwargs(args))
    if scheduler is not None:
        for epoch in (0, 1, epochs // 2, epochs - 1):
            scheduler.step(epoch, 1.0)


def _build_transform(args: argparse.Namespace) -> None:
    """Makes the policy of --aa, and puts an image through the rest."""
    from PIL import Image
    from timm.data import create_transform
    from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
    options = dict(
        input_size=(3, 32, 32), is_training=True, train_crop_mode=args.train_crop_mode,
        scale=args.scale, ratio=args.ratio, hflip=args.hflip, vflip=args.vflip,
        color_jitter=args.color_jitter, color_jitter_prob=args.color_jitter_prob,
        grayscale_prob=args.grayscale_prob, gaussian_blur_prob=args.gaussian_blur_prob,
        interpolation=args.train_interpolation or args.interpolation or 'bilinear',
        mean=args.mean or IMAGENET_DEFAULT_MEAN, std=args.std or IMAGENET_DEFAULT_STD)
    create_transform(auto_augment=args.aa, **options)
    create_transform(**options)(Image.new('RGB', (48, 40)))


def _run_model(args: argparse.Namespace) -> None:
    """Runs the model on the meta device, without memory; for real where that cannot be done."""
    import torch
    try:
        with torch.device('meta'):
            _forward(args)
    except Exception:  # some models compute while they are built, which meta tensors cannot
        _forward(args)


def _forward(args: argparse.Namespace) -> None:
    """Two images of each size in question through the model."""
    import timm
    import torch
    from timm.data import resolve_data_config
    model = timm.create_model(**model_arguments(args), **args.model_kwargs)
    channels, *side = resolve_data_config(vars(args), model=model)['input_size']
    sizes = {tuple(side), *((size, size) for size in args.train_img_sizes or ())}
    if args.head_init_scale is not None or args.head_init_bias is not None:
        head = model.get_classifier()
        head.weight.add(head.bias[:, None])
    with torch.no_grad():
        for height, width in sizes:
            model(torch.zeros(2, channels, height, width))
    if args.grad_checkpointing:
        model.set_grad_checkpointing(enable=True)
