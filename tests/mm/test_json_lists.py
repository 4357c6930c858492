"""Counting the images of a JSON file a piece at a time."""

from __future__ import annotations

import json

import pytest

from tricks_plugin.mm import json_lists
from tricks_plugin.mm.json_lists import list_length

COCO = {'info': {'year': 2026, 'x': [1, {'images': [7]}]}, 'licenses': [],
        'categories': [{'id': 1, 'name': 'a "quoted] name\\'}],
        'images': [{'id': n, 'file_name': f'{n}.jpg', 'size': [640, 480]} for n in range(12)],
        'annotations': [{'image_id': 0, 'segmentation': [[1.5, 2, 3, 4]]}] * 40}


@pytest.fixture()
def pieces(monkeypatch):
    """Reads so many characters at once, so that every token is cut somewhere."""
    def so_many(count):
        monkeypatch.setattr(json_lists, '_CHUNK', count)
        json_lists._tried.cache_clear()
    return so_many


def write(path, text):
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    return str(path)


@pytest.mark.parametrize('chunk', [1, 2, 7, 100, 1 << 20])
def test_the_top_list_of_the_name_is_counted_wherever_it_stands(tmp_path, pieces, chunk):
    pieces(chunk)
    last = {key: COCO[key] for key in ('annotations', 'info', 'images')}
    for number, (value, count) in enumerate((
            (COCO, 12), (last, 12), ({'metainfo': {}, 'data_list': [1, 22, 333]}, 3),
            ({'images': []}, 0))):
        for indent in (None, 2):
            file = tmp_path / f'{number}_{indent}.json'
            file.write_text(json.dumps(value, indent=indent))
            assert list_length(str(file), ('images', 'data_list')) == count


@pytest.mark.parametrize('text, words', [
    ('[1, 2]', 'it holds no object with named lists'), ('', 'it holds no object'),
    ('{"annotations": []}', 'it holds no list named data_list or images'),
    ('{"images": {"a": 1}}', 'it holds no list named'), ('{"images": [1, 2', 'its end comes where'),
    ('{"images": [1 2]}', '2 comes where a comma or ] should'), ('{"images": [1,]}', 'no JSON'),
    ('{"images": [{"a": }]}', 'no JSON that could be read'),
    ('{"images" [1]}', 'no key and value'), ('{1: 2}', 'no key and value'),
    ('{}', 'it holds no list named'), ('{"images": [1], ', 'no key and value'),
    ('{"images": [1]', 'its end comes where'), ('{"images": [{}]} xxx', 'text follows'),
    ('{"images": [1]}{"images": [1, 2]}', 'text follows its object'),
    ('{"images": [1]} {', 'text follows its object'),
    ('{"images": [{"a": [1, 2]]}]}', 'no JSON that could be read'),
    ('{"images": [{"a": 1 "b": 2}]}', 'no JSON that could be read'),
    ('{"images": ' + '[' * 100_000, 'it is nested too deep')])
def test_what_is_no_such_file_is_said(tmp_path, pieces, text, words):
    pieces(3)
    with pytest.raises(ValueError, match=words):
        list_length(write(tmp_path / 'a.json', text), ('images', 'data_list'))


def test_a_list_behind_too_much_is_given_up(tmp_path, pieces, monkeypatch):
    pieces(64)
    monkeypatch.setattr(json_lists, 'MOST', 1000)
    file = write(tmp_path / 'a.json', {'annotations': COCO['annotations'], 'images': [1]})
    with pytest.raises(ValueError, match='no list of images ends in its first 0 MB'):
        list_length(file, ('images',))
    monkeypatch.setattr(json_lists, 'MOST', 10**6)
    json_lists._tried.cache_clear()
    assert list_length(file, ('images',)) == 1
    monkeypatch.setattr(json_lists, '_LARGEST_VALUE', 200)
    json_lists._tried.cache_clear()
    with pytest.raises(ValueError, match='no list of images'):
        list_length(write(tmp_path / 'b.json', {'info': 'x' * 1000, 'images': [1]}), ('images',))


def test_a_file_that_changed_is_counted_anew_and_bytes_are_no_text(tmp_path):
    file = write(tmp_path / 'a.json', {'images': [1]})
    assert list_length(file, ('images',)) == 1
    write(tmp_path / 'a.json', {'images': [1, 2]})
    assert list_length(file, ('images',)) == 2
    (tmp_path / 'b.json').write_bytes(b'\xff\xfe\x00{')
    with pytest.raises(ValueError, match='it is no text'):
        list_length(str(tmp_path / 'b.json'), ('images',))
    with pytest.raises(FileNotFoundError):
        list_length(str(tmp_path / 'c.json'), ('images',))


def test_of_a_large_file_the_last_character_is_looked_at(tmp_path, pieces, monkeypatch):
    pieces(8)
    monkeypatch.setattr(json_lists, '_WHOLE', 50)
    text = json.dumps({'images': [1, 2], 'annotations': [{'a': n} for n in range(99)]})
    assert list_length(write(tmp_path / 'a.json', text + ' \n'), ('images',)) == 2
    for number, damaged in enumerate((text + 'xxx', text[:-3])):
        with pytest.raises(ValueError, match='it does not end in a brace'):
            list_length(write(tmp_path / f'{number}.json', damaged), ('images',))


def test_a_file_is_opened_once_though_it_could_not_be_counted(tmp_path, monkeypatch):
    opened = []

    def opening(path, *args, **settings):
        opened.append(path)
        return open(path, *args, **settings)

    monkeypatch.setattr(json_lists, 'open', opening, raising=False)
    file = write(tmp_path / 'a.json', '{"annotations": []}')
    for _ in range(3):
        with pytest.raises(ValueError, match='it holds no list named images'):
            list_length(file, ('images',))
    assert opened == [file]
    write(tmp_path / 'a.json', '{"images": [1, 2, 3]}')
    assert [list_length(file, ('images',)) for _ in range(2)] == [3, 3]
    assert opened == [file] * 2


ENTRIES = [{'id': 7, 'width': 640, 'more': [[1.5, -2e3], []], 'x': None}, {'width': 2.5, 'id': 'a'},
           {'id': -3, 'name': 'a ]"\\', 'in': {'id': 9}}, {}, {'id': 10**20, 'width': True},
           {'in': [{'width': 1}], 'id': 4}, {'ids': 1, 'id': 12}]


@pytest.mark.parametrize('chunk', [1, 3, 50, 1 << 20])
def test_fields_are_those_of_the_entry_itself(tmp_path, pieces, chunk):
    pieces(chunk)

    def read(text, size):
        assert next(lists := json_lists.top_lists(text)) == 'images'
        found = list(text.entries('id', 'width'))
        assert next(lists, None) is None
        return found

    file = write(tmp_path / 'a.json', {'images': [*ENTRIES, 5]})
    none = json_lists.MISSING
    assert json_lists.read_once(read, file) == [
        (7, 640), ('a', 2.5), (-3, none), (none, none), (10**20, True), (4, none), (12, none),
        (none, none)]
