"""The step decay that cosine schedules are compared with: a tenth at 30, 60 and 90 %."""

from .functional import decay_points, step_decay

__all__ = ['decay_points', 'step_decay']
