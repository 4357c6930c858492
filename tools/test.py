"""mmdet's test.py with tricks: every flag of it, and --tricks. The same as `tricks test`.

python tools/test.py CONFIG CHECKPOINT [--tricks NAME[,NAME...]] [flags of mmdet's test.py]
"""

from __future__ import annotations

import sys

from tricks_plugin.cli import run_door
from tricks_plugin.cli.test import main

if __name__ == '__main__':
    sys.exit(run_door(main))
