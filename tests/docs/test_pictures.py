"""docs/pictures.md: its commands are ones that the programs take, its pictures are small."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tricks_plugin.cli import browse, schedule
from tricks_plugin.cli.common import split_flags

pytestmark = pytest.mark.slow

DOCS = Path(__file__).resolve().parents[2] / 'docs'
PAGE = (DOCS / 'pictures.md').read_text()
COMMANDS = re.findall(r'^    tricks ((?:browse|schedule) (?:.*\\\n)*.*)', PAGE, re.M)


@pytest.mark.parametrize('command', COMMANDS)
def test_every_command_of_the_page_is_one(command):
    name, *words = shlex.split(command.replace('\\\n', ' '))
    for_timm = words[0] == 'timm'
    parser = {'browse': browse, 'schedule': schedule}[name]._parser(f'tricks {name}', for_timm)
    own, behind = split_flags(words[1:] if for_timm else words)
    args, rest = parser.parse_known_args(own)
    if not for_timm:
        assert rest == [] and (DOCS.parent / args.config).is_file()
        return
    flags = pytest.importorskip('tricks_plugin.timm.flags')
    assert flags.trick_wish(flags.parse(rest + behind)) is not None


def test_the_page_has_commands_and_small_pictures():
    assert len(COMMANDS) >= 4
    pictures = re.findall(r'!\[[^]]*\]\((\w+\.png)\)', PAGE)
    assert pictures == ['browse.png', 'schedule.png']
    assert all(0 < (DOCS / name).stat().st_size < 200_000 for name in pictures)
