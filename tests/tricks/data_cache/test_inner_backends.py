"""mmengine's own backends behind the cache: a web server's files, and lmdb's."""

from __future__ import annotations

import functools
import http.server
import threading
from pathlib import Path

import mmengine.fileio as fileio
import pytest

from tricks_plugin.tricks.data_cache.backend import CachedBackend
from tricks_plugin.tricks.data_cache.keeper import keeper

pytestmark = pytest.mark.slow


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, counts, and keeps quiet."""

    asked: list[str] = []

    def do_GET(self):
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture()
def server(tmp_path, monkeypatch):
    """A web server of the folder `web`; its address."""
    for name in ('http_proxy', 'HTTP_PROXY', 'all_proxy', 'ALL_PROXY'):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / 'web').mkdir()
    (tmp_path / 'web' / '1.jpg').write_bytes(b'\xff\xd8 a picture \x00' * 100)
    (tmp_path / 'web' / '1.txt').write_text('line\nline\n')
    monkeypatch.setattr(Handler, 'asked', [])
    served = http.server.ThreadingHTTPServer(
        ('127.0.0.1', 0), functools.partial(Handler, directory=str(tmp_path / 'web')))
    thread = threading.Thread(target=served.serve_forever, daemon=True)
    thread.start()
    yield f'http://127.0.0.1:{served.server_port}'
    served.shutdown()
    served.server_close()
    thread.join()


@pytest.mark.parametrize('inner', [dict(backend='http'), None], ids=['named', 'by its prefix'])
def test_a_web_server_is_asked_once_and_its_answer_kept(server, cache_folder, inner):
    plain, cached = fileio.HTTPBackend(), CachedBackend(inner, cache_folder, 10)
    picture, text = f'{server}/1.jpg', f'{server}/1.txt'
    for _ in range(3):
        assert cached.get(picture) == plain.get(picture)
        assert cached.get_text(text) == plain.get_text(text)
    assert len(Handler.asked) == 6 + 2  # the plain backend's, and one of each by the cache
    counts = keeper(cache_folder, 10).counted()
    assert (counts['hits'], counts['misses'], counts['stored'], counts['failed']) == (4, 2, 2, 0)
    with cached.get_local_path(picture) as path:
        assert Path(path).read_bytes() == plain.get(picture)
    # By mmengine's functions, which choose the backend by backend_args.
    args = dict(backend='cached', inner=inner, folder=cache_folder, budget_mb=10)
    before = len(Handler.asked)
    assert fileio.get(picture, backend_args=args) == cached.get(picture)
    assert len(Handler.asked) == before


def test_what_a_web_server_has_not_is_its_own_error_each_time(server, cache_folder):
    cached = CachedBackend(dict(backend='http'), cache_folder, 10)
    for _ in range(2):
        with pytest.raises(OSError, match='404'):
            cached.get(f'{server}/2.jpg')
    assert keeper(cache_folder, 10).counted()['stored'] == 0


def test_lmdb_s_values_are_read_once(cache_folder, tmp_path, monkeypatch):
    lmdb = pytest.importorskip('lmdb')
    place = str(tmp_path / 'db')
    with lmdb.open(place, map_size=1 << 20) as database, database.begin(write=True) as change:
        change.put(b'1', b'a value')
    cached = CachedBackend(dict(backend='lmdb', db_path=place), cache_folder, 10)
    asked, plain = [], fileio.LmdbBackend.get
    monkeypatch.setattr(fileio.LmdbBackend, 'get', lambda self, path: (
        asked.append(path), plain(self, path))[1])
    for _ in range(3):
        assert cached.get('1') == b'a value' and isinstance(cached.get('1'), bytes)
        assert cached.get('2') is None
    assert asked == ['1', '2', '2', '2']  # what is not there is asked for again
