"""``python -m tricks_plugin.ablate.report STUDY.json OUT``: the reports of a saved study."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ..study import Study
from . import write_reports


def main(arguments: list[str]) -> int:
    """Reads a study, or an ``ablation.json`` that holds one, and writes the reports.

    Args:
        arguments: The file and the folder.

    Returns:
        The exit status: 2 if the arguments are wrong.
    """
    if len(arguments) != 2:
        print('usage: python -m tricks_plugin.ablate.report STUDY.json OUT', file=sys.stderr)
        return 2
    try:
        content = json.loads(Path(arguments[0]).read_text(encoding='utf-8'))
        study = Study.from_dict(content.get('study', content))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        print(f'{arguments[0]} holds no study: {type(error).__name__}: {error}', file=sys.stderr)
        return 2
    for path in write_reports(study, Path(arguments[1])):
        print(path)
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
