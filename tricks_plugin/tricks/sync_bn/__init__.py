"""Batch normalization over the batch of all processes (arXiv 1902.04103 section 3.5).

Importing this package needs torch alone; the config edit is in `trick`, the hook in `hook`.
"""

from . import trick  # noqa: F401

COMPONENTS = {'SyncBatchNormHook': 'hook'}
