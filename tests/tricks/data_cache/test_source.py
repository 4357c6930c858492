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


def test_what_a_path_is_called_is_found_once_and_what_may_change_each_time(
        custom, tmp_path, monkeypatch):
    from tricks_plugin.tricks.data_cache import source
    asked = []
    monkeypatch.setattr(source, 'entry_name', lambda *key: asked.append(key) or str(len(asked)))
    monkeypatch.setattr(source, '_NAMES', 2)
    one = source.Source(dict(backend='local'))
    path, second, third = (str(tmp_path / name) for name in ('1.jpg', '2.jpg', '3.jpg'))
    for name in (path, second, third):
        Path(name).write_text('text')
    monkeypatch.chdir(tmp_path)
    names = [one.known_by('decoded', name, 'color')[0]
             for name in (path, path, second, second, third, third, '1.jpg', '1.jpg', path)]
    # Two are remembered, and a third one is not.
    assert names == ['1', '1', '2', '2', '3', '4', '5', '6', '1']
    assert one.known_by('decoded', path, 'grayscale')[0] == '7'
    assert one.known_by('encoded', path)[0] == '8'
    # A relative path is remembered for its working directory.
    monkeypatch.setattr(source, '_NAMES', 10)
    assert [one.known_by('decoded', '1.jpg')[0] for _ in range(2)] == ['9', '9']
    monkeypatch.chdir(tmp_path.parent)
    assert one.known_by('decoded', '1.jpg')[0] == '10'
    monkeypatch.chdir(tmp_path)
    assert one.known_by('decoded', '1.jpg')[0] == '9'
    before = one.known_by('decoded', path, 'color')[1]()
    Path(path).write_text('another text')
    assert one.known_by('decoded', path, 'color')[1]().size == len('another text') != before.size
    # One of somebody's own too, but where its settings name what may come and go.
    other = source.Source(dict(backend='custom_of_test'))
    assert other.known_by('decoded', path)[0] == other.known_by('decoded', path)[0] == '11'
    assert other.known_by('decoded', 'key')[0] != other.known_by('decoded', 'key')[0]
    archive = source.Source(dict(backend='custom_of_test', zip_path='images.zip'))
    assert archive.known_by('decoded', path)[0] != archive.known_by('decoded', path)[0]
    url = source.Source()
    assert len({url.known_by('decoded', 'http://host/1.jpg')[0] for _ in range(2)}) == 1


class Shifted(fileio.LocalBackend):
    """Local files, each byte moved by a key: what is read depends on the settings."""

    def __init__(self, key):
        self.key = key

    def get(self, filepath):
        return bytes((byte + self.key) % 256 for byte in super().get(filepath))


def test_a_local_backend_with_settings_of_its_own_is_not_taken_for_the_plain_one(
        cache_folder, tmp_path):
    path = tmp_path / '1.txt'
    path.write_bytes(b'abc')
    fileio.register_backend('shifted_of_test', Shifted)
    try:
        caches = [CachedBackend(dict(backend='shifted_of_test', key=key), cache_folder, 10)
                  for key in (1, 2)]
        for _ in range(2):
            assert [one.get(str(path)) for one in caches] == [b'bcd', b'cde']
        path.write_bytes(b'wxyz')
        assert [one.get(str(path)) for one in caches] == [b'xyz{', b'yz{|']
        assert keeper(cache_folder, 10).counted()['hits'] == 2
    finally:
        del backends['shifted_of_test']


def test_what_a_backend_does_not_have_it_has_not_behind_the_cache_either(custom, cache_folder,
                                                                         monkeypatch):
    monkeypatch.setattr(ByPath, 'get', lambda self, filepath: None)  # as mmengine's lmdb
    cached = CachedBackend(dict(backend='custom_of_test'), cache_folder, 10)
    assert [cached.get('key') for _ in range(2)] == [None, None]
    assert keeper(cache_folder, 10).counted()['stored'] == 0
