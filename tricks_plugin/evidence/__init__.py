"""Evidence that a trick is live in the running training. Knows neither mmengine nor timm."""

from .base import DeadTrickError, Evidence, Finding
from .learning_rate import Curve, RateEvidence, base_lr
from .monitor import Monitor, build_evidence
from .training import Average, Distillation, Training

__all__ = ['Average', 'Curve', 'DeadTrickError', 'Distillation', 'Evidence', 'Finding', 'Monitor',
           'RateEvidence', 'Training', 'base_lr', 'build_evidence']
