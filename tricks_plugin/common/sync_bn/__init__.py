"""BatchNorm over all processes: the layer, and turning a model's layers into it.

Here and not in the room `sync_bn`, since timm's trainer converts by its own flag as well.
"""

from .convert import FROZEN, Conversion, is_synchronized, survey, synchronize_batch_norms
from .layer import CrossRankBatchNorm, CrossRankBatchNormAct

__all__ = ['FROZEN', 'Conversion', 'CrossRankBatchNorm', 'CrossRankBatchNormAct',
           'is_synchronized', 'survey', 'synchronize_batch_norms']
