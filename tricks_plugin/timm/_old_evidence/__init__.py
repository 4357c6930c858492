"""What the tricks really do in a timm training, measured from what arrives."""

from .driver import TimmEvidence

__all__ = ['TimmEvidence']
