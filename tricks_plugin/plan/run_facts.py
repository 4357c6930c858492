"""What a plan knows of the run, before it begins."""

from __future__ import annotations

import dataclasses
from typing import Any

__all__ = ['RunFacts']


@dataclasses.dataclass(frozen=True)
class RunFacts:
    """The run that a plan is made for; None for what the settings and the data do not tell.

    Attributes:
        processes: Training processes.
        batch_size: Images per batch of one process.
        accumulation: Batches that an update averages over.
        epochs: Length of an epoch-based run.
        iterations: Length of an iteration-based run.
        images: Images of the training set, without those that the data set leaves out; None where
            it is not known which these are.
        images_at_most: Where these are not known, but how many are listed: so many.
        samples: Samples of an epoch: the images, times what wrappers repeat.
        updates: Optimizer steps of the whole run.
        updates_at_most: Where these are not known, as it is not known which images the data set
            leaves out: what they would be if it left none out.
        scale: Short side in px of the scale at which the run tests, as its settings name it.
        fitted: Whether that scale is a square into which each image is fitted with its aspect kept:
            the short sides that arrive are then less, but for square images.
        train_scale: Short side in px of the largest scale that training resizes to.
        classes: Classes of the data.
        pretrained: ``'detector'`` where weights of a whole model are loaded, ``'backbone'`` where
            those of its backbone are; None: the run begins with random weights.
        frozen_stages: Stages of the backbone that do not train; None where nothing is frozen.
        augmentation: The strong steps that the settings have already, by their names.
        named_batch: The images per update for which the file that sets the LR was made, as its name
            says (``8xb32``), and that name.
        task: ``'detection'``, ``'classification'``, or None for another.
        unknown: Why facts are not known, a sentence each.
    """

    processes: int = 1
    batch_size: int | None = None
    accumulation: int | None = None
    epochs: int | None = None
    iterations: int | None = None
    images: int | None = None
    images_at_most: int | None = None
    samples: int | None = None
    updates: int | None = None
    updates_at_most: int | None = None
    scale: int | None = None
    fitted: bool = False
    train_scale: int | None = None
    classes: int | None = None
    pretrained: str | None = None
    frozen_stages: int | None = None
    augmentation: tuple[str, ...] = ()
    named_batch: tuple[int, str] | None = None
    task: str | None = None
    unknown: tuple[str, ...] = ()

    @property
    def effective_batch(self) -> int | None:
        """Images per update."""
        if self.batch_size is None or self.accumulation is None:
            return None
        return self.batch_size * self.processes * self.accumulation

    def fewer(self, thing: str, bound: int) -> str:
        """How few there are of ``images``, ``updates``, or images ``seen`` by the updates.

        Empty if there are not fewer, or if it is not known.

        Example:
            >>> RunFacts(updates=520).fewer('updates', 3000)
            '520 updates (of 3000)'
        """
        each = self.effective_batch if thing == 'seen' else 1
        count, most = self.images if thing == 'images' else self.updates, ''
        if count is None:
            count, most = self.images_at_most if thing == 'images' else self.updates_at_most, \
                'at most '
        if count is None or each is None or count * each >= bound:
            return ''
        words = f'{_number(count * each, "image")} seen' if thing == 'seen' else \
            _number(count, thing[:-1])
        return f'{most}{words} (of {bound})'

    def words(self) -> str:
        """The run in one line."""
        parts = [
            self.images is not None and _number(self.images, 'image'),
            self.images_at_most is not None and f'at most {_number(self.images_at_most, "image")}',
            self.epochs is not None and _number(self.epochs, 'epoch'),
            self.updates is not None and _number(self.updates, 'update'),
            self.updates_at_most is not None and
            f'at most {_number(self.updates_at_most, "update")}',
            self.effective_batch is not None and
            f'{_number(self.effective_batch, "image")} per update',
            self.scale is not None and self._tested,
            self.classes is not None and _number(self.classes, 'class'),
            self.pretrained is not None and f'pretrained {self._loaded}',
            bool(self.augmentation) and f'augmented by {", ".join(self.augmentation)}']
        known = ', '.join(part for part in parts if isinstance(part, str))
        return '; '.join(filter(None, [known, *self.unknown]))

    @property
    def _loaded(self) -> str | None:
        if self.pretrained != 'detector':
            return self.pretrained
        return {'detection': 'detector', 'classification': 'classifier'}.get(
            self.task or '', 'model')

    @property
    def _tested(self) -> str:
        return (f'test scale {self.scale} px (a square that images are fitted into: their short '
                'sides are less)') if self.fitted else f'tested at {self.scale} px'

    def to_dict(self) -> dict[str, Any]:
        """As ``tricks plan --json`` prints it under ``run``."""
        return {**dataclasses.asdict(self), 'augmentation': list(self.augmentation),
                'unknown': list(self.unknown), 'effective_batch': self.effective_batch}


def _number(count: int, thing: str) -> str:
    if count != 1:
        thing += 'es' if thing.endswith('s') else 's'
    return f'{count} {thing}'
