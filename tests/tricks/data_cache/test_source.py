"""What a cache calls the files of a custom backend, and when it reads them anew."""

from __future__ import annotations

import zipfile
from pathlib import Path

import mmengine.fileio as fileio
import pytest
from mmengine.fileio.backends import backends

from tricks_plugin.tricks.data_cache.backend import CachedBackend
from tricks_plugin.tricks.data_cache.keeper import keeper

pytestmark = pytest.mark.slow


class ByPath(fileio.BaseStorageBackend):
    """A backend of somebody's own that reads local paths, or members of an archive."""

    def __init__(self, zip_path=None):
        self.zip_path = zip_path

    def get(self, filepath):
        if self.zip_path is None:
            return Path(filepath).read_bytes()
        with zipfile.ZipFile(self.zip_path) as archive:
            return archive.read(filepath)

    def get_text(self, filepath, encoding='utf-8'):
        return self.get(filepath).decode(encoding)


@pytest.fixture()
def custom():
    """The backend `custom_of_test`, while the test lasts."""
    fileio.register_backend('custom_of_test', ByPath)
    yield
    del backends['custom_of_test']


def test_relative_paths_of_a_custom_backend_are_those_of_their_project_and_changes_are_seen(
        custom, cache_folder, tmp_path, monkeypatch):
    cached = CachedBackend(dict(backend='custom_of_test'), cache_folder, 10)
    for project in ('a', 'b', 'a', 'b'):
        path = tmp_path / project / 'data' / '1.jpg'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(project)
        monkeypatch.chdir(tmp_path / project)
        assert cached.get('data/1.jpg') == project.encode()
    path.write_text('changed')
    assert [cached.get(one) for one in ('data/1.jpg', str(path))] == [b'changed'] * 2
    assert cached.name_of('data/1.jpg') == cached.name_of(path)


def test_an_archive_in_the_settings_counts_by_its_place_and_its_state(
        custom, cache_folder, tmp_path, monkeypatch):
    args = dict(backend='custom_of_test', zip_path='images.zip')
    for project, text in (('a', 'first'), ('b', 'other'), ('b', 'again and longer')):
        (tmp_path / project).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / project)
        with zipfile.ZipFile('images.zip', 'w') as archive:
            archive.writestr('1.txt', text)
        for _ in range(2):
            assert CachedBackend(args, cache_folder, 10).get('1.txt') == text.encode()
    assert keeper(cache_folder, 10).counted()['hits'] == 3
