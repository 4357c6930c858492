"""Trains a classifier with timm's flags, and with tricks by one more.

    python tools/timm_train.py DATA --model resnet50 -b 128 [every flag of timm's train.py in use] \
        --tricks bag_of_tricks [--trick-options mixup.alpha=0.4 ...] [--plan [--json]]
    torchrun --nproc-per-node 2 tools/timm_train.py DATA ...

Exit status 2, with one line on stderr, when a flag, a trick or the data is wrong.
"""

from __future__ import annotations

import sys

from tricks_plugin.cli import run_door
from tricks_plugin.timm.train import main

if __name__ == '__main__':
    sys.exit(run_door(main))
