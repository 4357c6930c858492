"""The pictures of a config's training samples, before and after its tricks."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..mm.apply import apply_tricks
from ..mm.samples import Sample, TrainingSamples, chosen
from ..pictures.samples import Pictures
from ..pictures.sheet import Panel
from ..plan import Plan
from ..plan.errors import TrickError

__all__ = ['pictures']


def pictures(path: str, cfg: Any, names: str | None, count: int, seed: int, size: int) -> Pictures:
    """Loads and draws.

    Args:
        path: The config's, for messages.
        cfg: The config, with ``tricks`` or without.
        names: The tricks' names as given; None takes the config's own.
        count: How many samples.
        seed: Of which ones, and of their draws.
        size: Long side of a picture in px.

    Raises:
        TrickError: If the data cannot be built, loaded or drawn.
    """
    try:
        from ..mm.drawing import Painter
    except ImportError as error:
        raise TrickError(f"browse draws with mmdet's visualizer, which cannot be imported: {error}"
                         ) from error
    effective, plan = apply_tricks(cfg)
    sides = {'after': TrainingSamples(effective, path, seed)}
    if plan.tricks:
        plain = cfg.copy()
        plain.pop('tricks', None)
        sides = {'before': TrainingSamples(apply_tricks(plain)[0], path, seed), **sides}
    indices = chosen(min(side.length for side in sides.values()), count, seed)
    painters = {name: Painter(side.metainfo) for name, side in sides.items()}
    rows, record, changed = [], [], 0
    for number, index in enumerate(indices):
        samples = {name: side.load(index, number) for name, side in sides.items()}
        factor = size / max(max(one.image.shape[:2]) for one in samples.values())
        rows.append([_panel(name if plan.tricks else '', one, painters[name].draw(one, factor))
                     for name, one in samples.items()])
        record.append({'index': index, **{name: _record(one) for name, one in samples.items()}})
        changed += len(samples) == 2 and _differ(*samples.values())
    label = names or ('its tricks' if plan.tricks else '')
    title = f'{path}{f", before and after {label}" if label else ""}'
    return Pictures(title, [f'{len(indices)} of {sides["after"].length} training samples, '
                            f'seed {seed}', *_told(plan, changed, len(indices))], rows,
                    {'config': path, 'tricks': label, 'seed': seed, 'samples': record},
                    across=(2 if count > 2 else 1) if plan.tricks else min(4, count))


def _panel(name: str, one: Sample, drawn: np.ndarray) -> Panel:
    h, w = one.image.shape[:2]
    count = len(one.labels)
    words = [f'{w} x {h} px, {count} box{"" if count == 1 else "es"}']
    if one.weights is not None and count:
        words.append('weights ' + ' '.join(dict.fromkeys(f'{one:.2f}' for one in one.weights)))
    caption = ', '.join(words) + '. ' + ' '.join(
        f'{text}.' for text in (one.batch, *one.notes) if text)
    file = one.path.replace('\\', '/').rpartition('/')[2] or f'sample {one.index}'
    return Panel(drawn, f'{name}: {file}' if name else file, caption)


def _record(one: Sample) -> dict[str, Any]:
    return {'path': one.path, 'shape': list(one.image.shape[:2]), 'labels': one.labels,
            'boxes': np.round(one.boxes.astype(float), 2).tolist(),
            'weights': None if one.weights is None else one.weights.astype(float).tolist(),
            'batch': one.batch, 'notes': list(one.notes)}


def _differ(before: Sample, after: Sample) -> bool:
    """Whether a model would see two different samples."""
    return before.image.shape != after.image.shape or (before.image != after.image).any() or \
        before.labels != after.labels or not np.array_equal(before.boxes, after.boxes)


def _told(plan: Plan, changed: int, count: int) -> list[str]:
    """What became of the tricks that a sample could show."""
    if not plan.tricks:
        return []
    lines = []
    touched = [row.name for row in plan.tricks if any(
        change.path.startswith(('train_dataloader.dataset', 'model.data_preprocessor'))
        for change in row.changes)]
    if touched:
        lines.append(f'{", ".join(touched)} edit{"s" if len(touched) == 1 else ""} the pipeline or '
                     f'the batch: {changed} of {count} samples differ')
    else:
        lines.append('no trick of these edits the pipeline or the batch here: '
                     f'{changed} of {count} samples differ')
    lines += [f'{row.name}: {row.status}, {row.reason}' for row in plan.tricks
              if row.status in ('not_applicable', 'held_back')]
    return lines
