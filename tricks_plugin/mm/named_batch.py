"""The batch for which a config file's learning rate was chosen, as the file's name says it."""

from __future__ import annotations

import re
from pathlib import PurePath

__all__ = ['named_batch']

_FILE = re.compile(r'^[^\s\'"=#]+\.py$', re.MULTILINE)  # how Config.text begins each file
_LR = re.compile(r'\blr\s*=')
_NAME = re.compile(r'(?:^|[_-])(\d+)xb(\d+)(?=$|[_-])')


def named_batch(text: str) -> tuple[int, str] | None:
    """Images per update that the name of the file which sets the LR says, such as ``8xb32``.

    A config inherits ``auto_scale_lr.base_batch_size`` from files that know nothing of its own LR:
    RTMDet's is for 8 x 32 images and has the 16 of a base. Where the file of the LR, or one that
    inherits it, sets ``base_batch_size`` itself, that is taken to be meant.

    Args:
        text: `mmengine.config.Config.text`: each file's path in a line of its own before what it
            says, the bases first.

    Returns:
        ``(images, file)``, or None where no such file is found or its name says nothing.
    """
    end = len(text)
    for head in reversed(list(_FILE.finditer(text))):
        body, end = text[head.end():end], head.start()
        if 'base_batch_size' in body:
            return None
        if _LR.search(body):
            file = PurePath(head.group())
            name = _NAME.search(file.stem)
            return name and (int(name[1]) * int(name[2]), file.name)
    return None
