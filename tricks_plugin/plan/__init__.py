"""Planning: what a trick is, what a recipe wants, and what came of it. No mmengine, no torch."""

from .changes import Change, compare, same
from .errors import TrickError, did_you_mean, nearest
from .params import Params, bounded
from .plan import Plan, TrickPlan
from .registry import TRICKS, TrickRegistry
from .run_facts import RunFacts
from .trick import ConfigEdit, TimmFlags, Trick
from .verdict import Status, Verdict

__all__ = ['TRICKS', 'Change', 'ConfigEdit', 'Params', 'Plan', 'RunFacts', 'Status', 'TimmFlags',
           'Trick', 'TrickError', 'TrickPlan', 'TrickRegistry', 'Verdict', 'bounded', 'compare',
           'did_you_mean', 'nearest', 'same']
