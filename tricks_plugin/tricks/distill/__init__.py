"""Distillation: a trained teacher's features, or its class scores, beside the labels."""

from __future__ import annotations

import dataclasses

from ...plan import TRICKS, Params, Trick, TrickError, bounded

__all__ = ['COMPONENTS', 'Distill', 'DistillParams']

COMPONENTS = {'DistillationHook': 'hook'}


@dataclasses.dataclass(frozen=True)
class DistillParams(Params):
    """Parameters of `distill`."""

    teacher: str | None = bounded(
        None, "the teacher's config, a file or one of a zoo (mmdet::...); for timm a model's name")
    checkpoint: str | None = bounded(
        None, "the teacher's weights, a file or URL; timm alone has published ones in its place")
    weight: float | None = bounded(
        None, 'factor on the loss of distillation; default 6 for features, 1 for class scores',
        gt=0)
    temperature: float = bounded(
        20.0, 'what class scores are divided by before the softmax, of both models', gt=0)
    off_fraction: float | None = bounded(
        None, 'last part of the training without the teacher; default 0.1 for detection, none '
        'for classification', ge=0, lt=1)
    off_epochs: int | None = bounded(None, 'the same in epochs; overrides off_fraction', ge=0)

    def check(self, path: str) -> None:
        """A checkpoint alone names no architecture."""
        if self.checkpoint and not self.teacher:
            raise TrickError(f'{path}.teacher must name the model of {path}.checkpoint, got '
                             f'{self.teacher!r}')


@TRICKS.register
class Distill(Trick):
    """Adds the loss of distillation to a detector's or classifier's own."""

    name = 'distill'
    title = 'a trained teacher: its features for a detector, its class scores for a classifier'
    paper = ('PKD (arXiv 2207.02039) section 3.2; for classification BoT (arXiv 1812.01187) '
             'section 5.3, arXiv 1503.02531')
    order = 55
    Params = DistillParams
    evidence = 'tricks_plugin.tricks.distill.evidence:DistillEvidence'
    functions = ('pearson_distillation_loss', 'logit_distillation_loss')
    distributed = ('each process has a teacher of its own and normalises over its own images; '
                   "the adapters' gradients are averaged")
