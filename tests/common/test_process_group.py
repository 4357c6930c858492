"""The end of a process group whose DistributedDataParallel outlives it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# With destroy_process_group() in its place, each of five tries deadlocked.
SCRIPT = '''
import sys
import torch
from torch import distributed, nn
from tricks_plugin.common.process_group import end_process_group

def one_round(number):
    distributed.init_process_group(
        'gloo', init_method=f'file://{sys.argv[1]}/{number}', rank=0, world_size=1)
    try:
        tensor = torch.ones(1)
        wrapper = nn.parallel.DistributedDataParallel(nn.Linear(2, 2))
        distributed.all_reduce(tensor)
        if number == 19:
            sys.exit(3)
    finally:
        end_process_group()

for number in range(20):
    one_round(number)
'''


@pytest.mark.slow
def test_it_ends_without_deadlock_also_after_an_error(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, '-c', SCRIPT, str(tmp_path)], capture_output=True,
                          text=True, timeout=120, check=False)
    assert done.returncode == 3, done.stderr
