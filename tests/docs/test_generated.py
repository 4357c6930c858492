"""What the documentation derives from the code is as the code says, and imports point downwards."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tricks_plugin.plan import TRICKS
from tricks_plugin.tricks import rooms

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def generator():
    spec = importlib.util.spec_from_file_location(
        'generate_docs', ROOT / 'scripts' / 'generate_docs.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generated_parts_are_as_written(generator):
    for name, parts in generator.PARTS.items():
        text = (ROOT / name).read_text()
        assert generator.filled(text, parts) == text, f'run scripts/generate_docs.py for {name}'


def test_a_part_without_its_marks_is_refused(generator):
    with pytest.raises(ValueError, match="the part 'tricks' is marked 0 times"):
        generator.filled('no marks here', {'tricks': lambda: ''})


def test_the_readme_names_every_trick_once_in_its_table(generator):
    table = generator.tricks_table()
    assert re.findall(r'^\| \[`(\w+)`\]', table, re.M) == [t.name for t in TRICKS.in_order()]
    assert len((ROOT / 'README.md').read_text().splitlines()) <= 150


def test_every_function_in_the_table_exists():
    import tricks_plugin.functional as functions
    for trick in TRICKS.in_order():
        for name in trick.functions:
            assert callable(getattr(functions, name)), name


def test_links_of_the_documentation_lead_somewhere():
    for page in [ROOT / 'README.md', *(ROOT / 'docs').glob('*.md')]:
        for target in re.findall(r'\]\(([^)#]+)(?:#[^)]*)?\)', page.read_text()):
            if '://' not in target:
                assert (page.parent / target).exists(), f'{page.name}: {target}'


ALLOWED = {
    'plan': set(),
    'common': {'plan'},
    'evidence': {'plan', 'common'},
    'mm': {'plan', 'evidence', 'common'},
    'timm': {'plan', 'evidence', 'common'},
    'rooms': {'plan', 'evidence', 'common', 'mm', 'timm'},
    'ablate': {'plan', 'evidence', 'common', 'mm', 'timm'},
    'pictures': {'plan', 'common', 'mm', 'timm'},
    'tricks': {'plan', 'common'},
}


def test_imports_point_downwards(generator):
    upwards = [(source, target) for source, target in generator.imports()
               if source in ALLOWED and target not in ALLOWED[source]
               and target != 'tricks_plugin']  # the version alone
    # The registry of tricks has the rooms' package imported by name, and tells no room apart.
    assert upwards == []


def test_no_room_imports_another(generator):
    for room in rooms():
        for path in (ROOT / 'tricks_plugin' / 'tricks' / room).rglob('*.py'):
            others = {target.split('.')[2] for target in generator.imported(path)
                      if target.startswith('tricks_plugin.tricks.')}
            others |= set(re.findall(r'tricks_plugin\.tricks\.(\w+)', path.read_text()))
            assert others <= {room}, path


def test_planning_needs_neither_torch_nor_a_trainer():
    code = ("import sys\nfor name in ('torch', 'mmengine', 'mmdet', 'timm', 'numpy'):\n"
            '    sys.modules[name] = None\n'
            'import tricks_plugin.plan, tricks_plugin.tricks\n'
            "assert tricks_plugin.TRICKS.get('mixup').from_dict({}).params.prob == 1.0")
    subprocess.run([sys.executable, '-c', code], check=True, cwd=ROOT)


def test_evidence_needs_no_trainer():
    code = ("import sys\nfor name in ('mmengine', 'mmdet', 'timm'):\n    sys.modules[name] = None\n"
            'import importlib, tricks_plugin.evidence, tricks_plugin.common.shared_state\n'
            'for trick in tricks_plugin.TRICKS.in_order():\n'
            "    importlib.import_module(trick.evidence.partition(':')[0])\n")
    subprocess.run([sys.executable, '-c', code], check=True, cwd=ROOT)
