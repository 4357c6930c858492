#!/usr/bin/env python
"""Checks that an environment works: mmcv's compiled operators, mmdet and the project load.

    .venv/bin/python scripts/check_env.py

Prints one line: OK with the versions, or what is wrong. `setup_env.py` ends with it, and takes
from it how a tool's output becomes one line.
"""

from __future__ import annotations

import re
import sys
import traceback

REASONS = (
    (r'undefined symbol',
     'mmcv was compiled against another torch: remove the folder .wheels and run again'),
    (r'Python\.h: No such file',
     "Python's C headers are missing (Debian, Ubuntu: apt-get install python3-dev)"),
    (r'No space left on device', 'the disk is full'),
    (r'fatal error: Killed|Cannot allocate memory|out of memory|signal 9|SIGKILL',
     'the compiler ran out of memory: run again with MAX_JOBS=1'),
    (r'detected CUDA version|CUDA_HOME environment variable is not set|nvcc.*(error|fatal)',
     'the CUDA toolkit does not suit this torch: run again with CUDA_VISIBLE_DEVICES= (empty) '
     'to compile mmcv for the CPU only'),
    (r'name resolution|Connection (refused|reset|aborted)|dns error|Failed to fetch|'
     r'error sending request|timed out|Max retries',
     'the package index cannot be reached'),
    (r'lib(GL|gthread|glib)[-\w.]*: cannot open',
     "OpenCV's system libraries are missing (Debian, Ubuntu: apt-get install libgl1 libglib2.0-0)"),
    (r'numpy\.core\.multiarray failed|compiled using NumPy 1',
     'the NumPy in the environment is not the pinned one: remove the environment and run again'),
    (r"No module named 'mmcv\._ext'", 'mmcv was installed without its compiled operators'),
    (r"command '\S*(g\+\+|c\+\+|gcc|cc)\S*' failed|subcommand failed|unable to execute",
     'the C++ compiler failed'),
)


def explain(text: str) -> str:
    """Turns a tool's output into one line that says what is wrong.

    Args:
        text: what the tool printed.

    Returns:
        A known reason, or else the last line of the text that is not blank.
    """
    for pattern, reason in REASONS:
        if re.search(pattern, text):
            return reason
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else 'it stopped without a word'


def check() -> str:
    """Runs one compiled operator and loads everything.

    Returns:
        The versions, in one line.
    """
    import mmcv
    import mmcv.ops
    import mmdet
    import mmengine
    import torch

    import tricks_plugin

    boxes = torch.tensor([[0.0, 0.0, 9.0, 9.0], [0.0, 0.0, 9.0, 8.0]])
    kept = mmcv.ops.nms(boxes, torch.tensor([0.9, 0.8]), 0.5)[1].tolist()
    if kept != [0]:
        raise RuntimeError(f'mmcv.ops.nms kept boxes {kept} of two that overlap, expected [0]')
    return (f'torch {torch.__version__}, mmcv {mmcv.__version__}, mmengine {mmengine.__version__}, '
            f'mmdet {mmdet.__version__}, tricks_plugin {tricks_plugin.__version__}')


def main() -> int:
    """Prints the verdict.

    Returns:
        0 when all works, 1 otherwise.
    """
    try:
        print(f'OK: {check()}')
    except Exception:
        print(f'the environment does not work: {explain(traceback.format_exc())}')
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
