"""What the demo draws and reports."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SPEC = importlib.util.spec_from_file_location(
    'tool_demo', Path(__file__).resolve().parents[2] / 'examples' / 'demo.py')
demo = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(demo)


def test_one_detection_is_drawn_per_place():
    def found(x, score, label):
        return {'bbox': [x, 10.0, 20.0, 30.0], 'score': score, 'category_id': label}
    # shifted by 2 of 20 px: IoU 18 / 22; by 12: 8 / 32
    items = [found(10.0, 0.3, 4), found(12.0, 0.6, 9), found(24.0, 0.5, 2)]
    assert [item['category_id'] for item in demo.best_of_each_place(items)] == [9, 2]
    assert demo.best_of_each_place([]) == []


def test_the_last_validation_counts():
    scalars = [{'lr': 0.1, 'step': 1}, {'coco/bbox_mAP': 0.2, 'coco/bbox_mAP_50': 0.4, 'step': 5},
               {'coco/bbox_mAP': 0.5, 'coco/bbox_mAP_50': 0.8, 'step': 10}]
    assert demo.find_metrics(scalars) == {'bbox_mAP': 0.5, 'bbox_mAP_50': 0.8, 'epoch': 10}
    with pytest.raises(demo.DemoError, match='no validation'):
        demo.find_metrics(scalars[:1])
