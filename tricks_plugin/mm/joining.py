"""What is asked of a config before samples of several images are made of its own."""

from __future__ import annotations

from typing import Any

from .config_edit import Pipeline, default_scope, find, find_hooks, get, is_a, run_length, type_name

__all__ = ['one_image', 'replacing_hook']

_ONE_IMAGE = {
    'MultiBranch': 'it makes several views of each image for semi-supervised training',
    'SemiBaseDetector': 'a semi-supervised detector pairs views of one image',
    'PackTrackInputs': 'it packs videos, whose frames belong together',
    'PackReIDInputs': 'it packs images for re-identification, which have no boxes',
    'TransformBroadcaster': 'it transforms the frames of a video together',
    'LoadPanopticAnnotations': 'panoptic maps hold one label per pixel and cannot be mixed',
    'ODVGDataset': 'its text belongs to one image',
    'RefCocoDataset': 'its text belongs to one image',
    'MDETRStyleRefCocoDataset': 'its text belongs to one image',
    'Flickr30kDataset': 'its text belongs to one image',
    'DODDataset': 'its text belongs to one image',
    'RandomSamplingNegPos': 'it draws a text for each image',
}


def one_image(cfg: dict[str, Any]) -> str:
    """Why a sample of this training has to stay one image, or an empty string.

    Args:
        cfg: A plain config.
    """
    scope = default_scope(cfg)
    for path in ('train_dataloader.dataset', 'model'):
        for where, node in find(get(cfg, path), *_ONE_IMAGE, path=path, scope=scope):
            known = next(name for name in _ONE_IMAGE if is_a(node, name, scope=scope))
            return f'{where} is {type_name(node)}: {_ONE_IMAGE[known]}'
    return ''


def replacing_hook(cfg: dict[str, Any], pipelines: list[Pipeline]) -> tuple[str, int] | None:
    """The first hook that puts another pipeline in place during the training, and its epoch.

    mmdet's PipelineSwitchHook replaces the pipeline of the outermost dataset only.

    Args:
        cfg: A plain config.
        pipelines: Those that the steps in question stand in.
    """
    outermost = any(pipeline.path == 'train_dataloader.dataset.pipeline'
                    for pipeline in pipelines)
    length = run_length(cfg)
    if not outermost or length is not None and not length.by_epoch:
        return None
    found = [(path, epoch) for path, hook in find_hooks(cfg, 'PipelineSwitchHook')
             if isinstance(epoch := hook.get('switch_epoch'), int)]
    return min(found, key=lambda one: one[1], default=None)
