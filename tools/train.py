"""mmdet's train.py with tricks: every flag of it, and --tricks. The same as `tricks train`.

    python tools/train.py CONFIG --tricks bag_of_freebies [--cfg-options tricks.mixup.alpha=1.0]

A wrong trick, parameter or config ends with status 2 and one line on stderr.
"""

from __future__ import annotations

import sys

from tricks_plugin.cli import run_door
from tricks_plugin.cli.train import main

if __name__ == '__main__':
    sys.exit(run_door(main))
