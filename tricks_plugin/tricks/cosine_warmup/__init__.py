"""Linear warm-up from 0, flat if wished, then a cosine to `eta_min`, per iteration."""

from __future__ import annotations

import dataclasses

from ...plan import TRICKS, Params, Trick, bounded
from ...plan.errors import TrickError

__all__ = ['COMPONENTS', 'MAX_DEFAULT_EPOCHS', 'TWENTIETH', 'CosineWarmup', 'CosineWarmupParams']

COMPONENTS = {'WarmupCosineLR': 'scheduler'}

# For detectors, see When it pays in the README.
# Both in images seen, as the LR goes with the batch.
MIN_SEEN = 20_000  # from random weights: a choice above 16,640, where each seed is below steps
MIN_PRETRAINED = 12_000  # from a pretrained backbone: 4160 and 6240 lose, 12,480 do not
MIN_FLAT = 0.5  # flat for so much, no loss is shown there (here, 0.5 and 0.7)

# The warm-up of a run that names none: a twentieth of it, up to BoT's 5 epochs.
TWENTIETH = 20
MAX_DEFAULT_EPOCHS = 5


@dataclasses.dataclass(frozen=True)
class CosineWarmupParams(Params):
    """Parameters of the schedule."""

    warmup_epochs: float | None = bounded(
        None, 'length of the warm-up in epochs; None keeps the length the config has', ge=0)
    warmup_iters: int | None = bounded(None, 'the same in iterations', ge=0)
    fitted_epochs: float | None = bounded(
        None, 'advice where neither is given: so many epochs, or a tenth of a run of which they '
        'would be half or more', ge=0)
    eta_min: float | None = bounded(
        None, "the LR at the end of the run, absolute; None keeps the config's own, else 0", ge=0)
    flat_fraction: float | None = bounded(
        None, 'share of what follows the warm-up that stays at the base LR before the cosine; '
        'None for 0', ge=0, lt=1)
    fitted_flat: float = bounded(
        0.0, "advice where it is not given: that of a detector's run which is too short for a "
        'cosine from the start', ge=0, lt=1)
    replace: bool = bounded(False, 'replace a schedule that has warm-up and cosine already')

    def check(self, path: str) -> None:
        """Raises TrickError if both lengths are given."""
        if self.warmup_epochs is not None and self.warmup_iters is not None:
            raise TrickError(
                f'{path}.warmup_epochs and {path}.warmup_iters exclude each other, got '
                f'{self.warmup_epochs!r} and {self.warmup_iters!r}'
            )


@TRICKS.register
class CosineWarmup(Trick):
    """Linear warm-up from 0, then cosine, stepped per iteration."""

    name = 'cosine_warmup'
    title = 'linear warm-up from 0, then cosine to eta_min, per iteration'
    paper = 'BoT (arXiv 1812.01187) sections 3.1 and 5.1; BoF (arXiv 1902.04103) section 3.4'
    order = 20
    Params = CosineWarmupParams
    evidence = 'tricks_plugin.tricks.cosine_warmup.evidence:CosineEvidence'
    functions = ('warmup_cosine',)
