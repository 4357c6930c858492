"""Fixtures of the cache's tests."""

from cache_kit import cache_folder as cache_folder
