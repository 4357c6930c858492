"""Fixtures of the monitor's tests."""

from support.data_monitor import images as images
from support.data_monitor import registered as registered
