"""Fixtures of the monitor's tests."""

from support.data_cache import cache_folder as cache_folder
from support.data_monitor import images as images
from support.data_monitor import registered as registered
