"""Weighting each box's loss terms by its mixing ratio, one module per family of heads."""

from .hook import MixUpWeightingHook

__all__ = ['MixUpWeightingHook']
