"""The step decay that cosine schedules are compared with: a tenth at 30, 60 and 90 %."""

from . import trick  # noqa: F401
