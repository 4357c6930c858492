"""The backend `cached` answers what mmengine's LocalBackend answers, and the loader as mmcv's."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import cv2
import mmengine.fileio as fileio
import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from mmengine.fileio import FileClient, LocalBackend, get_file_backend
from mmengine.fileio.backends import backends
from mmengine.registry import TRANSFORMS
from support.data_cache import write_files, write_jpegs

import tricks_plugin.registry  # noqa: F401
from tricks_plugin.tricks.data_cache.backend import CachedBackend
from tricks_plugin.tricks.data_cache.keeper import keeper
from tricks_plugin.tricks.data_cache.loader import LoadCachedImage

pytestmark = pytest.mark.slow


@pytest.fixture()
def tree(tmp_path):
    """Files, folders, hidden ones, links, texts in several encodings."""
    root = tmp_path / 'tree'
    (root / 'a' / 'deep').mkdir(parents=True)
    (root / '.hidden').mkdir()
    (root / 'a' / 'x.jpg').write_bytes(bytes(range(256)))
    (root / 'a' / 'deep' / 'y.txt').write_bytes('zwei\r\nZeilen\rund ß\n'.encode())
    (root / 'empty').write_bytes(b'')
    (root / 'latin').write_bytes('grün'.encode('latin-1'))
    (root / 'link').symlink_to(root / 'a' / 'x.jpg')
    (root / 'broken').symlink_to(root / 'nothing')
    return root


CALLS = [
    *[(method, (path,), {}) for method in ('get', 'get_text', 'exists', 'isdir', 'isfile')
      for path in ('a/x.jpg', 'a/deep/y.txt', 'empty', 'latin', 'link', 'broken', 'a', 'none')],
    ('get_text', ('latin', 'latin-1'), {}), ('get_text', ('a/deep/y.txt',), {'encoding': 'utf-16'}),
    ('get_text', ('a/deep/y.txt', 'no such encoding'), {}),
    ('join_path', ('a', 'b', '../c'), {}), ('join_path', ('a',), {}),
    *[('list_dir_or_file', (path,), options) for path in ('', 'a', 'none', 'empty')
      for options in ({}, {'list_dir': False}, {'list_file': False}, {'recursive': True},
                      {'list_dir': False, 'suffix': '.txt', 'recursive': True},
                      {'suffix': '.txt'}, {'list_dir': False, 'suffix': 3})],
    ('get_local_path', ('a/x.jpg',), {}), ('get_local_path', ('none',), {}),
    ('no_such_method', ('a',), {}), ('remove', ('a',), {}), ('remove', ('none',), {}),
]


def answer(backend, kind, root, method, arguments, options):
    """What a call gives, its type too, or what it raises."""
    first = root / arguments[0] if arguments[0] or kind is str else root
    arguments = (kind(first), *arguments[1:])
    try:
        value = getattr(backend, method)(*arguments, **options)
        if method == 'list_dir_or_file':
            value = sorted(value)
        if method == 'get_local_path':
            with value as path:
                value = path
    except Exception as error:
        return type(error), getattr(error, 'errno', None)
    return type(value), value


@pytest.mark.parametrize('kind', [str, Path])
@pytest.mark.parametrize(('method', 'arguments', 'options'), CALLS, ids=lambda value: str(value))
def test_whatever_local_answers_cached_answers(
        tree, cache_folder, kind, method, arguments, options):
    local = answer(LocalBackend(), kind, tree, method, arguments, options)
    cached = CachedBackend(folder=cache_folder, budget_mb=10)
    for _ in range(2):  # from the source, and from the cache
        assert answer(cached, kind, tree, method, arguments, options) == local


def test_writing_goes_to_the_source_and_is_read_back_at_once(tree, cache_folder):
    cached = CachedBackend(folder=cache_folder, budget_mb=10)
    path = str(tree / 'new' / 'file')
    for data in (b'first', b'other', b'third'):
        cached.put(data, path)
        assert cached.get(path) == data == Path(path).read_bytes()
    cached.put_text('text', path)
    assert cached.get_text(path) == 'text'
    assert cached.copyfile(path, path + '2') == path + '2' and cached.get(path + '2') == b'text'
    cached.remove(path)
    with pytest.raises(FileNotFoundError):
        cached.get(path)
    cached.rmtree(tree / 'new')
    assert not (tree / 'new').exists()
    assert cached.name == 'CachedBackend' and cached._allow_symlink is True


def test_it_is_found_by_its_name_alone_and_all_but_the_name_is_optional(tmp_path, monkeypatch):
    assert backends['cached'] is CachedBackend
    (path,) = write_files(tmp_path, 1)
    args = dict(backend='cached', inner=dict(backend='local'), folder=str(tmp_path / 'c'),
                budget_mb=1)
    before = copy.deepcopy(args)
    assert fileio.get(path, backend_args=args) == Path(path).read_bytes()
    assert args == before and get_file_backend(backend_args={'backend': 'cached'}).inner is None
    assert fileio.exists(path, backend_args=args)
    with fileio.get_local_path(path, backend_args=args) as local:
        assert local == path


@pytest.mark.parametrize(('arguments', 'error', 'words'), [
    ({'inner': 'local'}, TypeError, "inner must be the backend_args of a backend, got 'local'"),
    ({'inner': {'backend': 'cached'}}, ValueError, 'inner must be a backend that reads'),
    ({'inner': {'backend': 'none'}}, KeyError, 'none'),
    ({'budget_mb': 0}, ValueError, 'budget_mb must be > 0, got 0'),
    ({'folder': 7}, TypeError, 'folder must be a path, got 7')])
def test_wrong_settings_are_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        CachedBackend(**arguments)


class Remote(fileio.BaseStorageBackend):
    """A source without a time of modification, that counts what it is asked."""

    asked: list = []  # noqa: RUF012

    def __init__(self, bucket='x'):
        self.bucket = bucket

    def get(self, filepath):
        self.asked.append(filepath)
        return memoryview(f'{self.bucket}:{filepath}'.encode())

    def get_text(self, filepath, encoding='utf-8'):
        return bytes(self.get(filepath)).decode(encoding)


@pytest.fixture()
def remote():
    """The backend `remote_of_test`, while the test lasts."""
    fileio.register_backend('remote_of_test', Remote)
    Remote.asked.clear()
    yield Remote
    del backends['remote_of_test']


def test_a_source_without_times_is_asked_once_for_each_of_its_settings(remote, cache_folder):
    def cached(bucket):
        return CachedBackend(dict(backend='remote_of_test', bucket=bucket), cache_folder, 10)
    for _ in range(3):
        assert cached('one').get('s3://a') == b'one:s3://a'
        assert cached('two').get_text('s3://a') == 'two:s3://a'
    assert remote.asked == ['s3://a'] * 2


def test_what_is_written_through_it_is_forgotten_where_the_source_tells_no_time(
        remote, cache_folder):
    class Writable(Remote):
        values: dict = {}  # noqa: RUF012

        def get(self, filepath):
            return self.values[filepath]

        def put(self, obj, filepath):
            self.values[filepath] = obj

    backends['remote_of_test'] = Writable
    cached = CachedBackend(dict(backend='remote_of_test', bucket='written'), cache_folder, 10)
    for data in (b'1', b'2'):
        cached.put(data, 'key')
        assert [cached.get('key') for _ in range(2)] == [data] * 2
    with pytest.raises(AttributeError, match="has no attribute 'rmtree'"):
        cached.rmtree('key')


def test_a_source_with_a_stat_of_its_own_is_asked_for_the_state(remote, cache_folder, tmp_path):
    class Told(Remote):
        def stat(self, filepath):
            return os.stat(tmp_path / 'told')

    backends['remote_of_test'] = Told
    (tmp_path / 'told').write_text('1')
    cached = CachedBackend(dict(backend='remote_of_test', bucket='told'), cache_folder, 10)
    cached.get('key')
    cached.get('key')
    (tmp_path / 'told').write_text('22')
    cached.get('key')
    assert remote.asked == ['key'] * 2


LOADERS = [{}, {'to_float32': True}, {'color_type': 'grayscale'}, {'color_type': 'unchanged'},
           {'imdecode_backend': 'pillow'}, {'color_type': 'color_ignore_orientation'},
           {'backend_args': {'backend': 'local'}}, {'file_client_args': {'backend': 'disk'}}]


@pytest.mark.parametrize('level', ['encoded', 'decoded'])
@pytest.mark.parametrize('options', LOADERS, ids=str)
def test_the_loader_gives_what_mmcvs_gives_bit_for_bit(tmp_path, cache_folder, options, level):
    plain = LoadImageFromFile(**options)
    cached = LoadCachedImage(**options, level=level, folder=cache_folder, budget_mb=50)
    for path in write_jpegs(tmp_path, 3):
        for _ in range(3):
            right = plain({'img_path': path, 'more': 1})
            found = cached({'img_path': path, 'more': 1})
            assert right.keys() == found.keys() and found['more'] == 1
            assert right['img'].dtype == found['img'].dtype
            assert np.array_equal(right['img'], found['img']) and found['img'].flags.writeable
            assert [(right[key], found[key]) for key in ('img_shape', 'ori_shape')] == [
                (right['img'].shape[:2],) * 2] * 2
            found['img'][:] = 0  # is the caller's own
    assert keeper(cache_folder, 50).counted()['hits'] == 6


def test_a_photograph_turned_by_its_orientation_is_turned(tmp_path, cache_folder):
    from PIL import Image
    path = str(tmp_path / 'turned.jpg')
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.arange(6000, dtype=np.uint8).reshape(40, 50, 3)).save(path, exif=exif)
    for kind, shape in (('color', (50, 40, 3)), ('color_ignore_orientation', (40, 50, 3))):
        cached = LoadCachedImage(color_type=kind, folder=cache_folder, budget_mb=50)
        for _ in range(2):
            assert cached({'img_path': path})['img'].shape == shape


@pytest.mark.parametrize('level', ['encoded', 'decoded'])
def test_missing_and_broken_images_end_as_with_mmcv(tmp_path, cache_folder, level):
    broken = tmp_path / 'broken.jpg'
    broken.write_bytes(b'no image')
    for path in (str(tmp_path / 'none.jpg'), str(broken)):
        errors = []
        for kind, more in ((LoadImageFromFile, {}), (
                LoadCachedImage, {'folder': cache_folder, 'budget_mb': 50, 'level': level})):
            for _ in range(2):
                with pytest.raises(Exception) as error:
                    kind(**more)({'img_path': path})
                errors.append((error.type, str(error.value)))
        assert len(set(errors)) == 1
    lenient = LoadCachedImage(ignore_empty=True, folder=cache_folder, budget_mb=50, level=level)
    assert lenient({'img_path': str(tmp_path / 'none.jpg')}) is None


def test_another_decoder_or_version_is_another_entry(tmp_path, cache_folder, monkeypatch):
    (path,) = write_jpegs(tmp_path, 1)
    names = {LoadCachedImage(folder=cache_folder, **options).name_of(path)
             for options in ({}, {'color_type': 'grayscale'}, {'imdecode_backend': 'pillow'})}
    monkeypatch.setattr(cv2, '__version__', '99.0')
    names.add(LoadCachedImage(folder=cache_folder).name_of(path))
    assert len(names) == 4


def test_a_wrong_level_is_refused_and_a_cached_backend_is_not_wrapped_twice(cache_folder):
    with pytest.raises(ValueError, match="level must be 'encoded' or 'decoded', got 'raw'"):
        LoadCachedImage(level='raw')
    own = dict(backend='cached', inner=dict(backend='local'), folder=cache_folder)
    loader = LoadCachedImage(backend_args=own)
    assert loader._source.inner == {'backend': 'local'} and loader._keeper.folder == cache_folder
    assert 'level=' in repr(loader) and cache_folder in repr(loader)


def test_the_loader_pickles_and_is_registered(tmp_path, cache_folder):
    (path,) = write_jpegs(tmp_path, 1)
    loader = TRANSFORMS.build(dict(type='tricks_plugin.LoadCachedImage', folder=cache_folder,
                                   budget_mb=50))
    first = loader({'img_path': path})['img']
    again = pickle.loads(pickle.dumps(loader))({'img_path': path})['img']
    assert np.array_equal(first, again) and keeper(cache_folder, 50).counted()['hits'] == 1


def test_old_file_clients_know_it_too(tmp_path, cache_folder):
    (path,) = write_files(tmp_path, 1)
    client = FileClient.infer_client(dict(backend='cached', folder=cache_folder), path)
    assert client.get(path) == Path(path).read_bytes()


@pytest.mark.slow
def test_a_spawned_process_can_load(tmp_path, cache_folder):
    (path,) = write_jpegs(tmp_path, 1)
    code = (f'import pickle, sys\nloader = pickle.loads({pickle.dumps(LoadCachedImage(level="encoded", folder=cache_folder))!r})\n'  # noqa: E501
            f'assert loader({{"img_path": {path!r}}})["img"].shape == (40, 40, 3)')
    subprocess.run([sys.executable, '-c', code], check=True)
