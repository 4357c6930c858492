"""What the processes that train or measure for an ablation share.

The result file is written last, so a run that was ended before leaves nothing that counts.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..common.file_lock import locked
from ..common.files import json_safe, write_json
from ..plan.errors import FailedRunError
from .identity import code_digest, machine, versions

__all__ = ['MEMORY', 'checks', 'die_with', 'held', 'memory_mb', 'passes_per_second', 'run_spec']

MEMORY = ('peak of what torch holds on the GPU; without a GPU, peak of the training process, '
          'without its data workers')
_LEAST = 2.0  # seconds of timed passes


def die_with(parent: int | None) -> None:
    """Ends this process soon after another one is gone.

    Args:
        parent: That process, which has started this one; None leaves it alone.
    """
    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    if parent is not None:
        threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keeps a run's folder from a second process.

    Raises:
        FailedRunError: If another process trains there.
    """
    with locked(folder.with_name(f'.{folder.name}.lock')) as mine:
        if not mine:
            raise FailedRunError('another process trains this run; wait for it or end it')
        yield


def run_spec(argv: list[str] | None, train: Callable[[dict[str, Any]], dict[str, Any]],
             libraries: tuple[str, ...]) -> int:
    """Trains by a spec file, and writes the result.

    Args:
        argv: The path of the spec; None takes the process's.
        train: Trains by the spec, and returns what came of it.
        libraries: Names of those whose versions the result tells.

    Raises:
        FailedRunError: If another process trains the same run.
    """
    spec = json.loads(Path((argv or sys.argv[1:])[0]).read_text())
    die_with(spec.get('parent'))
    folder = Path(spec['folder'])
    with held(folder):
        began = time.perf_counter()
        result = train(spec)
        write_json(folder / 'result.json', json_safe({
            **result, 'subject': spec['subject'], 'rung': spec['rung'], 'seed': spec['seed'],
            'settings': spec['settings'], 'code': code_digest(),
            'versions': versions(*libraries), 'machine': machine(),
            'wall_seconds': time.perf_counter() - began,
            'checks': checks(folder / 'work', spec['planned'])}))
    return 0


def memory_mb() -> float:
    """Peak memory, see `MEMORY`."""
    import torch
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def checks(folder: Path, planned: list[str]) -> list[dict[str, Any]]:
    """What the evidence of a run says of each trick.

    Args:
        folder: Its work dir.
        planned: The tricks that were promised a measurement.
    """
    from ..evidence.monitor import FILE
    path = folder / FILE
    found = {one['name']: one for one in
             (json.loads(path.read_text())['tricks'] if path.is_file() else [])}
    return [{'trick': name, 'live': found[name]['live'], 'text': found[name]['measured']}
            if name in found else {'trick': name, 'live': None, 'text': 'not measured'}
            for name in dict.fromkeys([*planned, *found])]


def passes_per_second(one: Callable[[], Any]) -> float:
    """How often a forward pass can be made in a second, by the median of timed passes.

    Args:
        one: Makes a pass.
    """
    import statistics

    from .record import Clock
    took: list[float] = []
    for index in range(102):
        clock = Clock()
        clock.start()
        one()
        clock.stop()
        took += [clock.seconds] if index >= 2 else []  # the first passes warm up
        if len(took) >= 3 and sum(took) > _LEAST:
            break
    return 1 / statistics.median(took)
