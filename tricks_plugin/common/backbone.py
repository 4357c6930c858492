"""What is called a backbone, asked in one way by what edits, builds and measures."""

from __future__ import annotations

__all__ = ['BACKBONE_LR', 'in_backbone']

# The key of mmengine's ``paramwise_cfg`` that this package's constructors know.
BACKBONE_LR = 'backbone_lr_mult'


def in_backbone(name: str) -> bool:
    """Whether a parameter lies in a part named ``backbone``.

    Args:
        name: As `torch.nn.Module.named_parameters` gives it.

    Example:
        >>> in_backbone('teacher.backbone.conv1.weight'), in_backbone('head.backbone_scale')
        (True, False)
    """
    return 'backbone' in name.split('.')[:-1]
