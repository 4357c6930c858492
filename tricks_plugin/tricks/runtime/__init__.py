"""Small options that make a training step or its data faster and change nothing that it learns."""

from . import trick  # noqa: F401

COMPONENTS = {'RuntimeOptionsHook': 'hook'}
