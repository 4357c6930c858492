"""The learning rate in proportion to the effective batch."""

from . import trick  # noqa: F401
