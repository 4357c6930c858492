"""One random shape per batch for single-stage detectors (arXiv 1902.04103 section 3.6)."""

from . import trick  # noqa: F401

COMPONENTS = {'BatchRandomShapes': 'batch_augment', 'BatchRandomShapesHook': 'hook'}
