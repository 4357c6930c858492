"""Evidence that a trick is live in the running training. Knows neither mmengine nor timm."""

from .base import DeadTrickError, Evidence, Finding
from .monitor import Monitor, build_evidence
from .training import Average, Training

__all__ = ['Average', 'DeadTrickError', 'Evidence', 'Finding', 'Monitor', 'Training',
           'build_evidence']
