"""Reads a report as a browser would, as far as tests need it."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {'meta', 'link', 'img', 'br', 'hr', 'input', 'use', 'wbr', 'path', 'rect', 'circle', 'line'}


class Page(HTMLParser):
    """Tags with their attributes, ids, links, tables, and texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.tags, self.ids, self.texts, self.tables = [], [], [], [], []
        self.cell = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append((tag, values))
        if 'id' in values:
            self.ids.append(values['id'])
        if tag == 'table':
            self.tables.append([])
        elif tag == 'tr':
            self.tables[-1].append([])
        elif tag in ('td', 'th'):
            self.cell = {'tag': tag, 'classes': values.get('class', '').split(), 'text': '',
                         'unit': ''}
            self.tables[-1][-1].append(self.cell)
        if tag not in VOID:
            self.open.append((tag, values))

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        assert self.open and self.open[-1][0] == tag, (tag, self.open[-3:])
        self.open.pop()
        if tag in ('td', 'th'):
            self.cell = None

    def handle_data(self, data):
        if self.open and self.open[-1][0] in ('style', 'script'):
            return
        self.texts.append(data)
        if self.cell is not None:
            key = 'unit' if self.open[-1][1].get('class') == 'unit' else 'text'
            self.cell[key] += data
