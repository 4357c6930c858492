"""What a version of timm's training script knows, without running or importing it."""

from __future__ import annotations

import ast
import dataclasses
import importlib.metadata
import re
from pathlib import Path

from tricks_plugin.plan.errors import TrickError

from .flags import FLAGS

__all__ = ['Script', 'find_script', 'parse_release', 'read_script']

Release = tuple[int, int, int, int]

_FIRST = '1.0.3'  # what a row of the table names no release for is there since
# From this release on a warm-up before the schedule makes the run longer; before, the run ends by
# the warm-up's length too early. Scripts of that release are known by a flag that came with it.
PREFIX_COUNTS_SINCE = '1.0.12'
_CAME_WITH_IT = 'wandb_tags'


@dataclasses.dataclass(frozen=True)
class Script:
    """One version of timm's train.py.

    Attributes:
        label: What to call it: its path, or ``timm 1.0.12``.
        flags: The names that it reads (underscores), where its file was read.
        release: Its version, where that is what is known of it.
    """

    label: str
    flags: frozenset[str] | None = None
    release: Release | None = None

    def knows(self, key: str) -> bool:
        """Whether a setting of this name has an effect; the script says nothing where not."""
        if self.flags is not None:
            return key in self.flags
        return key in FLAGS and self._since(FLAGS[key].since or _FIRST)

    @property
    def prefix_counts(self) -> bool:
        """Whether ``warmup_prefix`` adds the warm-up to the length of the run."""
        if self.flags is not None:
            return _CAME_WITH_IT in self.flags
        return self._since(PREFIX_COUNTS_SINCE)

    def _since(self, release: str) -> bool:
        return self.release is None or self.release >= parse_release(release)


def parse_release(version: str) -> Release:
    """A version as a tuple that sorts: 1.0.29.dev0 before 1.0.29.

    Raises:
        TrickError: If it is no version of the form 1.0.12, or older than 1.0.3.
    """
    match = re.fullmatch(r'v?(\d+)\.(\d+)\.(\d+)(\.?(?:dev|a|b|rc)\d*)?([.+-].*)?',
                         version.strip())
    if not match:
        raise TrickError(f'--timm-version must be a release such as 1.0.12, got {version!r}')
    major, minor, patch = (int(part) for part in match.groups()[:3])
    release = (major, minor, patch, -1 if match[4] else 0)
    if release < (1, 0, 3, 0):
        raise TrickError('--timm-version must be 1.0.3, the first release of timm 1.0, or newer '
                         f'(for older ones give --script PATH/train.py), got {version!r}')
    return release


def read_script(path: str | Path) -> Script:
    """Reads which flags a train.py takes, from its text; nothing of it is run.

    Args:
        path: The script. It must take ``-c FILE`` as timm's does.

    Raises:
        TrickError: If the file cannot be read, is no Python, or takes no flags or no ``--config``.
    """
    try:
        tree = ast.parse(Path(path).read_bytes(), filename=str(path))
    except OSError as error:
        raise TrickError(f'--script must be a readable train.py, got {str(path)!r} '
                         f'({error.strerror})') from None
    except (SyntaxError, ValueError) as error:
        reason = ' '.join(str(error).split())
        raise TrickError(f'--script must be a Python file, got {str(path)!r} ({reason})') from None
    flags = frozenset(name for node in ast.walk(tree) if (name := _flag(node)))
    if 'config' not in flags or len(flags) < 2:
        raise TrickError('--script must be a train.py of timm that takes -c/--config FILE, got '
                         f'{str(path)!r}, which has {len(flags)} flags and no --config')
    return Script(str(path), flags=flags)


def _flag(node: ast.AST) -> str:
    """The name under which a call of ``add_argument`` stores its value; empty for other code."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            and node.func.attr == 'add_argument'):
        return ''
    for keyword in node.keywords:
        if keyword.arg == 'dest' and isinstance(keyword.value, ast.Constant):
            return str(keyword.value.value)
    names = [arg.value for arg in node.args
             if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    name = next((name for name in names if name.startswith('--')), names[0] if names else '')
    return name.lstrip('-').replace('-', '_')


def find_script(path: str | None = None, version: str | None = None) -> Script:
    """The script to write for: a file, a release, or else the release that is installed.

    Args:
        path: A train.py.
        version: A release of timm, such as ``1.0.12``.

    Raises:
        TrickError: If the file or the version is wrong, or none is given and timm not installed.
    """
    if path is not None:
        return read_script(path)
    if version is None:
        try:
            version = importlib.metadata.version('timm')
        except importlib.metadata.PackageNotFoundError:
            raise TrickError('timm is not installed here: give --script PATH/train.py or '
                             '--timm-version, got neither') from None
    return Script(f'timm {version}', release=parse_release(version))
