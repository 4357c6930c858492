"""How an image lies in memory: row by row with its channels together, or channel by channel."""

from __future__ import annotations

import numpy as np

try:
    import cv2
except ImportError:
    cv2 = None  # type: ignore[assignment]

__all__ = ['contiguous_image', 'planar_image']


def contiguous_image(image: np.ndarray) -> np.ndarray:
    """An image in C order; the image itself if it is so already.

    A flipped view, as mmcv's ``imflip`` returns it, is copied by OpenCV's flip: NumPy copies
    three-channel views with negative strides pixel by pixel, more than ten times slower.

    Args:
        image: ``(h, w)`` or ``(h, w, channels)``.

    Example:
        >>> flipped = np.arange(6, dtype=np.uint8).reshape(2, 3)[:, ::-1]
        >>> flipped.flags.c_contiguous, contiguous_image(flipped).flags.c_contiguous
        (False, True)
    """
    if image.flags.c_contiguous:
        return image
    down, left = (stride < 0 for stride in image.strides[:2])
    if cv2 is not None and (down or left) and image.dtype in (np.uint8, np.float32):
        unflipped = image[::-1 if down else 1, ::-1 if left else 1]
        if unflipped.flags.c_contiguous:
            flipped = cv2.flip(unflipped, -1 if down and left else int(left))
            return flipped if flipped.shape == image.shape else flipped.reshape(image.shape)
    return np.ascontiguousarray(image)


def planar_image(image: np.ndarray) -> np.ndarray:
    """The same image laid out channel by channel, as PyTorch wants it.

    OpenCV takes the channels apart several times faster than PyTorch's ``contiguous`` or NumPy's
    ``ascontiguousarray`` of the transposed image.

    Args:
        image: ``(h, w, channels)``, any strides.

    Returns:
        ``(h, w, channels)``, a view: its ``transpose(2, 0, 1)`` is C-contiguous. The image itself,
        if it is laid out so already.

    Example:
        >>> planar = planar_image(np.zeros((4, 5, 3), np.uint8))
        >>> planar.shape, planar.transpose(2, 0, 1).flags.c_contiguous
        ((4, 5, 3), True)
    """
    if image.transpose(2, 0, 1).flags.c_contiguous:
        return image
    planes = np.empty((image.shape[2], *image.shape[:2]), image.dtype)
    if cv2 is not None and image.size and image.dtype in (np.uint8, np.float32):
        cv2.split(contiguous_image(image), list(planes))
    else:
        planes[...] = image.transpose(2, 0, 1)
    return planes.transpose(1, 2, 0)
