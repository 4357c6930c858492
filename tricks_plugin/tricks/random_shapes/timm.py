"""Random sizes as timm's flags."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ...plan import TimmFlags
from ...timm.facts import fixed_input_size
from . import MIN_SIZE
from .functional import training_sizes

__all__ = ['Flags']

# Of a classifier's size: 160 to 224 px. Below, the last map has fewer than 5 x 5 cells.
_RANGE = (5 / 7, 1.0)
_STREAMED = ('hfids', 'tfds', 'wds')


class Flags(TimmFlags):
    """timm's scheduled resolutions: drawn for each batch, in no order, at one batch size."""

    main = 'train_img_sizes'
    unused = ('interval', 'two_stage', 'replace', 'points', 'lengths', 'ignore', 'test_share',
              'off_fraction', 'off_epochs')

    def settings(
        self, args: dict[str, Any], given: Collection[str] = frozenset(),
    ) -> dict[str, Any] | str | None:
        """Sets ``train_img_sizes``; see `Trick.timm_args`."""
        reason = _obstacle(args)
        if args.get('train_img_sizes'):
            return reason or {'train_img_sizes': list(args['train_img_sizes'])}
        if reason:
            return reason
        shape = args.get('input_size') or [args.get('img_size')]
        own, divisor = shape[-1], self.params.divisor
        if self.params.sizes is not None:
            return {'train_img_sizes': sorted(set(self.params.sizes))}
        if not isinstance(own, int) or own < 1:
            return 'the size of the images is not known'
        if len(set(shape[-2:])) > 1:
            return f'timm varies square sizes only, and the model takes {shape[-2]} x {own} px'
        sizes = training_sizes(own, self.params.ratio_range or _RANGE, divisor)
        return {'train_img_sizes': sizes} if len(sizes) > 1 else (
            f'the model takes {own} px, which leaves fewer than two sizes of {MIN_SIZE} px or more '
            f'that are multiples of {divisor}')

    def note(self, before: dict[str, Any], after: dict[str, Any]) -> str:
        """Says what is drawn."""
        sizes = after['train_img_sizes']
        return f'each batch at one of {", ".join(map(str, sizes))} px'

    @classmethod
    def promise(cls, args: dict[str, Any]) -> dict[str, Any] | None:
        """Square batches of the sizes, drawn anew for each; a progression may stay for long."""
        if not cls.active(args):
            return None
        sizes = [int(size) for size in args['train_img_sizes']]
        weights = [float(one) for one in args.get('train_size_probs') or [1.0] * len(sizes)]
        drawn = args.get('train_size_schedule', 'constant') == 'constant'
        return {'sizes': sizes, 'interval': 1, 'square': True,
                'likeliest': max(weights) / sum(weights) if drawn else 1.0}

    @classmethod
    def active(cls, args: dict[str, Any]) -> bool:
        """With ``train_img_sizes``."""
        return bool(args.get('train_img_sizes'))


def _obstacle(args: dict[str, Any]) -> str:
    """Why timm cannot draw a size per batch with these settings, or an empty string."""
    import inspect

    from timm.data import create_loader
    if 'input_size_choices' not in inspect.signature(create_loader).parameters:
        return 'the installed timm has no training at scheduled sizes (--train-img-sizes)'
    for name in ('use_multi_epochs_loader', 'aug_splits'):
        if args.get(name):
            return f'--{name.replace("_", "-")} and --train-img-sizes exclude each other in timm'
    if str(args.get('dataset') or '').split('/')[0] in _STREAMED:
        return f'--dataset {args["dataset"]} is a stream, which timm reads at one size only'
    if fixed_input_size(args):
        return f'{args["model"]} takes images of one size only'
    return ''
