"""Every policy of timm that a recipe names draws for 2000 images without an error."""

from __future__ import annotations

import random

import numpy as np
import pytest
from PIL import Image
from timm.data.auto_augment import (
    augment_and_mix_transform,
    auto_augment_transform,
    rand_augment_transform,
)

pytestmark = pytest.mark.slow

DRAWS = 2000
HINTS = dict(translate_const=3, img_mean=(124, 116, 104))
MAKERS = {'rand': rand_augment_transform, 'augmix': augment_and_mix_transform}


@pytest.mark.parametrize('policy', [
    # DeiT, Swin and ConvNeXt; EfficientNet; ResNet strikes back; timm's own documents.
    'rand-m9-mstd0.5-inc1', 'rand-m9-mstd0.5', 'rand-m7-mstd0.5-inc1', 'rand-m15-n2',
    'rand-m10-n3-mstd101', 'rand-m0-inc1', '3a', 'original', 'originalr', 'original-mstd0.5', 'v0',
    'v0r', 'augmix-m5-w4-d2', 'augmix-m9-mstd0.5-b1',
])
def test_a_policy_draws_for_2000_images(policy: str) -> None:
    """With magnitudes of every size: rare draws reach 0 bits of posterize."""
    rng = np.random.default_rng(1)
    image = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
    random.seed(3)
    np.random.seed(3)
    augment = MAKERS.get(policy.split('-')[0], auto_augment_transform)(policy, dict(HINTS))
    changed = 0
    for _ in range(DRAWS // 10 if policy.startswith('augmix') else DRAWS):
        found = augment(image)
        assert found.size == (12, 12) and found.mode == 'RGB'
        changed += found.tobytes() != image.tobytes()
    assert changed > (0 if policy == 'rand-m0-inc1' else 100)
