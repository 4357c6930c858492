"""The batch for which a config file's learning rate was chosen, as the file's name says it."""

from __future__ import annotations

import re
from pathlib import PurePath

__all__ = ['named_batch']

_FILE = re.compile(r'^[^\'"=#\n]+\.py$', re.MULTILINE)  # how Config.text begins each file
_LR = re.compile(r'\blr[\'"]?\s*[=:]')
_BASE = re.compile(r'base_batch_size[\'"]?\s*[=:]\s*(\d+)')
_NAME = re.compile(r'(?:^|[_-])(\d+)xb(\d+)(?=$|[_-])')
_NUMBER = re.compile(r'(?<![\w.])\d+(?:\.\d*)?(?:[eE][+-]?\d+)?(?![\w.])')


def named_batch(text: str, lr: float, declared: int) -> tuple[int, str] | None:
    """Images per update that the name of the file which sets the LR says, such as ``8xb32``.

    A config inherits ``auto_scale_lr.base_batch_size`` from files that know nothing of its own LR:
    RTMDet's is for 8 x 32 images and has the 16 of a base. Where the file of the LR, or one that
    inherits it, sets ``base_batch_size`` itself, that is taken to be meant; and so is what stands
    in no file, as where a command's option has set it.

    Args:
        text: `mmengine.config.Config.text`: each file's path in a line of its own before what it
            says, the bases first.
        lr: The config's, which the file must name.
        declared: Its ``auto_scale_lr.base_batch_size``, which a file must name.

    Returns:
        ``(images, file)``, or None where no such file is found or its name says nothing.
    """
    if declared not in map(int, _BASE.findall(text)):
        return None
    end = len(text)
    for head in reversed(list(_FILE.finditer(text))):
        body, end = text[head.end():end], head.start()
        if _BASE.search(body):
            return None
        if _LR.search(body):
            file = PurePath(head.group())
            name = _NAME.search(file.stem)
            if name is None or lr not in map(float, _NUMBER.findall(body)):
                return None
            return int(name[1]) * int(name[2]), file.name
    return None
