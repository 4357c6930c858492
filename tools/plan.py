"""Shows what tricks would change in a config, without training. The same as `tricks plan`.

python tools/plan.py CONFIG [--tricks NAME[,NAME...]] [--cfg-options ...] [--json | --diff]
"""

from __future__ import annotations

import sys

from tricks_plugin.cli import run_door
from tricks_plugin.cli.plan import main

if __name__ == '__main__':
    sys.exit(run_door(main, prints=True))
