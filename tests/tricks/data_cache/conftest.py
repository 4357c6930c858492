"""Fixtures of the cache's tests."""

from support.data_cache import cache_folder as cache_folder
