"""The config edit that reads through the cache."""

from __future__ import annotations

from typing import Any

from ...mm.config_edit import default_scope, get, not_seen, type_name, walk
from ...plan import ConfigEdit, RunFacts, Verdict
from .folder import default_folder
from .images import Reader, image_list, readers, sampled
from .survey import Needs, Room, in_page_cache, room_in, slow_source

__all__ = ['Edit']


def _no_reader(cfg: dict[str, Any]) -> str:
    """Why nothing of a config can read through the cache."""
    dataset, scope = get(cfg, 'train_dataloader.dataset'), default_scope(cfg)
    if not dataset:
        return 'the config has no training images'
    steps = [step for _, node in walk(dataset) if isinstance(node.get('pipeline'), (list, tuple))
             for step in node['pipeline'] if isinstance(step, dict)]
    unseen = next(filter(None, (not_seen(step, scope) for step in steps)), '')
    known = 'is known to load' if unseen else 'loads'
    return f'no transform below train_dataloader.dataset {known} images from files{unseen}'


def _start_method(cfg: dict[str, Any], reader: Reader) -> str:
    """How the workers start that a reader runs in; empty for a fork, and without workers."""
    section = 'val_dataloader' if reader.path.startswith('val_') else 'train_dataloader'
    if not get(cfg, f'{section}.num_workers'):
        return ''
    method = get(cfg, f'{section}.multiprocessing_context') or \
        get(cfg, 'env_cfg.mp_cfg.mp_start_method') or 'fork'
    return '' if method == 'fork' else str(method)


def _reached(cfg: dict[str, Any], found: list[Reader]) -> list[Reader]:
    """The readers without a cache that can have one.

    Workers that are no forks know the backend only by a class of this package in their data set.
    """
    known = {one.path.startswith('val_') for one in found
             if one.decodes or type_name(one.node) == 'LoadCachedImage'}
    return [one for one in found if not one.level and (
        not _start_method(cfg, one) or one.path.startswith('val_') in known)]


class Edit(ConfigEdit):
    """Gives the transforms that read files the backend ``cached``, or `LoadCachedImage`."""

    def apply(self, cfg: dict[str, Any]) -> Verdict:
        """Edits every transform of training and validation that reads images or maps."""
        found = readers(cfg)
        if not any(one.path.startswith('train_dataloader') for one in found):
            return Verdict.not_applicable(_no_reader(cfg))
        plain = [one for one in found if not one.level]
        reached, cached = _reached(cfg, found), [one for one in found if one.level]
        if not plain or (cached and not reached):
            first = cached[0]
            return Verdict.present(f'{first.path} reads through the cache already',
                                   promise=_promise(first))
        left = [one for one in plain if one not in reached]
        why = '' if not left else (
            f'{left[0].path} keeps its class, and its workers, which start by '
            f'{_start_method(cfg, left[0])!r}, know the storage backend only by a class of this '
            'package')
        if left and not any(one.path.startswith('train_') for one in reached):
            return Verdict.not_applicable(why)
        room, needs, level, _, trouble = self._survey(cfg, reached)
        for one in reached:
            self._edit(one, level, bool(_start_method(cfg, one)))
        words = f'what the set needs is not known: {trouble}' if needs is None else \
            f'{needs.words()}; {room.words(needs, level)}'
        if needs is not None and any(one.maps for one in plain):
            words += '; the maps of segments are kept too, and not counted'
        words += f'; {why}, so it is not cached' * bool(why)
        return Verdict.applied(f'{level}; {words}', level=level, folder=self.params.folder)

    def pays(self, cfg: dict[str, Any], facts: RunFacts) -> str | None:
        """Measures on a sample what would fit, and asks whether the source is slow."""
        plain = _reached(cfg, readers(cfg))
        room, needs, level, source, trouble = self._survey(cfg, plain)
        return _against(needs, room, level, source, trouble) or None

    def _survey(self, cfg: dict[str, Any], plain: list[Reader],
                ) -> tuple[Room, Needs | None, str, str, str]:
        """What fits, what is needed, at which level, what is slow, and what is not known."""
        room = room_in(self.params.folder or default_folder(), self.params.budget_mb)
        needs, source, trouble = _look(cfg, plain, room.folder)
        level = self.params.level or _level(needs, room)
        if not any(one.decodes for one in plain):
            level = 'encoded'
        return room, needs, level, source, trouble

    def _edit(self, reader: Reader, level: str, spawned: bool) -> None:
        node, inner = reader.node, reader.inner
        place = {key: value for key, value in (
            ('folder', self.params.folder), ('budget_mb', self.params.budget_mb))
            if value is not None}
        node.pop('file_client_args', None)
        # Processes that are spawned know the backend only by a class of this package.
        if reader.decodes and (level == 'decoded' or spawned):
            node.update(type='tricks_plugin.LoadCachedImage', level=level, **place)
            if inner is not None:
                node['backend_args'] = inner
        else:
            node['backend_args'] = {'backend': 'cached', **({} if inner is None else
                                                            {'inner': inner}), **place}


def _promise(reader: Reader) -> dict[str, Any]:
    own = reader.node.get('backend_args') or {}
    place = own if own.get('backend') == 'cached' else reader.node
    return {'level': reader.level, 'folder': place.get('folder')}


def _look(cfg: dict[str, Any], plain: list[Reader], folder: str,
          ) -> tuple[Needs | None, str, str]:
    """What the set needs, what makes its source slow, and why the first is not known."""
    files = image_list(cfg)
    if isinstance(files, str):
        return None, '', files
    loader = next((one for one in plain if one.decodes), plain[0])
    backend = (loader.inner or {}).get('backend', 'local')
    source = slow_source(files[0]) if backend == 'local' else \
        f'the images come from the backend {backend!r}'
    try:
        return sampled(files, loader, folder), source, ''
    except Exception as error:  # files that are missing or damaged, backends that do not answer
        text = ' '.join(str(error).split())
        return None, source, f'{type(error).__name__}: {text}'


def _level(needs: Needs | None, room: Room) -> str:
    return 'decoded' if needs is not None and room.fits(needs, 'decoded') == 1 else 'encoded'


def _against(needs: Needs | None, room: Room, level: str, source: str, trouble: str) -> str:
    """Why the cache would bring little; empty where it brings something."""
    if needs is None:
        return f'whether it would pay is not known: {trouble}'
    share = room.fits(needs, level)
    if level == 'decoded' and share == 1:
        return ''  # decoding is paid once
    if share < 0.25:
        return f'{needs.words()}; {room.words(needs, level)}'
    if not source:
        return (f'{needs.words()}, more than the budget of {room.folder} for raw arrays; the '
                'images lie on a local file system that is not known to be slow, and the bytes '
                'of files kept a second time would bring little')
    if in_page_cache(needs) and 'rotating' in source:
        return (f'{source}, but {needs.words()}, and the memory that is available keeps the '
                'bytes of all files after the first epoch by itself')
    return ''
