"""Models that take images of one size only: found in the plan, or before the first iteration."""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from ...mm.config_edit import lookup_class, type_name, walk
from ...mm.meta import built_on_meta
from ...plan.errors import TrickError

__all__ = ['fixed_backbone', 'runs', 'try_shapes']

# Parameters that may tie a backbone to a size. Whether they do is tried, not guessed.
_SUSPECT = re.compile(r'(img|image|input)_(size|shape|resolution|scale)|abs_pos|pos_emb|'
                      r'strict_img|model_name|^features_only$')


def fixed_backbone(model: dict[str, Any], own: int, smallest: int, scope: str) -> str:
    """Why a config's backbone cannot have random shapes, or an empty string.

    A backbone with a parameter that may tie it to a size is built without weights or memory, and
    shown an image of the config's size and one of the smallest. Only one that takes the first and
    not the second is named; one that cannot be built or shown so is left to `try_shapes`.

    Args:
        model: The config's model.
        own: The short side at which the config trains, in px.
        smallest: The smallest short side that would be drawn.
        scope: The registry scope of unscoped types.
    """
    for path, node in walk(model, 'model'):
        if path.rsplit('.', 1)[-1] != 'backbone' or not isinstance(node.get('type'), str):
            continue
        suspects = _suspects(node, scope)
        if not suspects:
            continue
        takes = _takes(node, scope, own, smallest)
        if takes == [True, False]:
            return (f'{path} is {type_name(node)}, which takes images of one size only '
                    f'({", ".join(suspects)})')
    return ''


def _suspects(node: dict[str, Any], scope: str) -> list[str]:
    """Parameters of a backbone that may tie it to a size, with the values that are set."""
    names = dict.fromkeys(key for key in node if key != 'type')
    kind = lookup_class(node['type'], scope)
    if inspect.isclass(kind):
        for base in inspect.getmro(kind):
            if '__init__' in base.__dict__:
                names.update(dict.fromkeys(inspect.signature(base.__dict__['__init__']).parameters))
    found = [name for name in names if _SUSPECT.search(name)]
    return [f'{name}={node[name]!r}' if name in node else name for name in found]


def _takes(node: dict[str, Any], scope: str, *sizes: int) -> list[bool]:
    """Whether a backbone, built on the meta device, takes square images of each size."""
    backbone = built_on_meta(node, scope)
    if backbone is None:
        return []
    channels = int(node.get('in_channels') or node.get('in_chans') or 3)
    found = []
    for size in sizes:
        with torch.device('meta'), torch.no_grad():
            found.append(runs(backbone, torch.zeros(1, channels, size, size)) == '')
    return found


def runs(module: Callable[[Any], Any], images: torch.Tensor) -> str:
    """What a module says of images in one line; empty if it takes them."""
    try:
        module(images)
    except Exception as error:  # whatever a user's forward raises
        return f'{type(error).__name__}: {" ".join(str(error).split())}'
    return ''


def try_shapes(model: nn.Module, augment: Any, inputs: Any, ends: bool = False) -> None:
    """Shows a built model one image of the largest and one of the smallest shape.

    In evaluation mode, without gradients and with the random numbers put back, so that statistics
    of norms and the draws of the training stay what they are. Shown are the features
    (``extract_feat``, or the backbone), and with a ``bbox_head`` what it makes of them. A part that
    takes neither shape (one that is sharded, or wants more than that) is left to the training.

    Args:
        model: The model, in a wrapper or not.
        augment: The `BatchRandomShapes` whose sizes are drawn.
        inputs: The images of a batch, as they come from the data loader.
        ends: Whether the training has a tail at the test scale, whose shape counts too.

    Raises:
        TrickError: If it takes the largest and not the smallest.
    """
    while isinstance(inner := getattr(model, 'module', None), nn.Module):
        model = inner
    images = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    extract = getattr(model, 'extract_feat', None) or getattr(model, 'backbone', None)
    if not all(isinstance(image, torch.Tensor) and image.dim() >= 3 for image in images) or \
            not images or extract is None:
        return
    height, width = (max(image.shape[axis] for image in images) for axis in (-2, -1))
    sample = next(model.parameters(), images[0])
    dtype = sample.dtype if sample.is_floating_point() else torch.float32
    sizes = augment.reach(ends)
    shapes = [augment.shape_of((height, width), size) for size in (sizes[-1], sizes[0])]
    head = getattr(model, 'bbox_head', None)
    steps = [extract] if head is None else [extract, lambda shown: head(extract(shown))]
    with _undisturbed(model, sample.device):
        for run in steps:
            said = [runs(run, torch.zeros(1, images[0].shape[-3], *shape, device=sample.device,
                                           dtype=dtype)) for shape in shapes]
            if not said[0] and said[1]:
                backbone = type(getattr(model, 'backbone', model)).__name__
                raise TrickError(
                    f'tricks.random_shapes: {type(model).__name__} with {backbone} takes images '
                    f'of {shapes[0]} (h, w) px and not of {shapes[1]}: {said[1]}')


@contextlib.contextmanager
def _undisturbed(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Evaluation mode without gradients; training modes and random numbers come back after it."""
    modes = [(module, module.training) for module in model.modules()]
    devices = [device] if device.type == 'cuda' else []
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=devices):
            model.eval()
            yield
    finally:
        for module, training in modes:
            module.training = training
