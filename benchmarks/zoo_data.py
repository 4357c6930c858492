"""A few small images with every annotation that mmdet's training pipelines read."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmdet.registry import DATASETS

from tricks_plugin.mm.config_edit import type_name, walk

IMAGES = 8
SIZE = (240, 320)  # height, width
# x, y, w, h in pixels; the second overlaps the first, the last is small.
BOXES = ((20, 30, 120, 90), (60, 50, 140, 150), (180, 20, 90, 160), (210, 150, 60, 70),
         (10, 160, 36, 34))


def classes_of(dataset: dict[str, Any]) -> list[str]:
    """The classes that a dataset's config or its class names."""
    own = dataset.get('metainfo') or {}
    names = own.get('classes') or DATASETS.get(dataset['type']).METAINFO.get('classes') or ('a',)
    return [names] if isinstance(names, str) else list(names)


def polygon(box: tuple[int, int, int, int]) -> list[float]:
    """An octagon in a box."""
    x, y, w, h = box
    cut_x, cut_y = w / 4, h / 4
    return [x + cut_x, y, x + w - cut_x, y, x + w, y + cut_y, x + w, y + h - cut_y, x + w - cut_x,
            y + h, x + cut_x, y + h, x, y + h - cut_y, x, y + cut_y]


def coco(classes: list[str], images: int = IMAGES, size: tuple[int, int] = SIZE) -> dict[str, Any]:
    """An annotation file of COCO's form: each image has each of BOXES, classes in turn."""
    height, width = size
    annotations = [
        dict(id=image * len(BOXES) + index + 1, image_id=image, bbox=list(box),
             category_id=(image + index) % len(classes) + 1, area=box[2] * box[3] * 7 / 8,
             iscrowd=0, segmentation=[polygon(box)])
        for image in range(images) for index, box in enumerate(BOXES)]
    return dict(
        images=[dict(id=image, file_name=f'{image}.jpg', height=height, width=width)
                for image in range(images)],
        annotations=annotations,
        categories=[dict(id=index + 1, name=name) for index, name in enumerate(classes)])


def crowdhuman(images: int = IMAGES) -> str:
    """An annotation file of CrowdHuman's form, one JSON object a line."""
    boxes = [dict(tag='person', fbox=list(box), hbox=list(box), vbox=list(box)) for box in BOXES]
    return '\n'.join(json.dumps(dict(ID=str(image), gtboxes=boxes)) for image in range(images))


def panoptic(classes: list[str], things: list[str]) -> dict[str, Any]:
    """An annotation file of COCO's panoptic form: BOXES are things, and the rest is stuff.

    Args:
        classes: All of them.
        things: Those that can be counted.
    """
    found = coco(things)
    number = {name: index + 1 for index, name in enumerate(classes)}
    stuff = next((name for name in classes if name not in things), classes[-1])
    annotations = []
    for image in range(IMAGES):
        segments = [
            dict(id=index + 1, category_id=number[things[(image + index) % len(things)]],
                 bbox=list(box), area=box[2] * box[3], iscrowd=0)
            for index, box in enumerate(BOXES)]
        segments.append(dict(id=len(BOXES) + 1, category_id=number[stuff], iscrowd=0,
                             bbox=[0, 0, SIZE[1], SIZE[0]], area=SIZE[0] * SIZE[1]))
        annotations.append(dict(image_id=image, file_name=f'{image}.png', segments_info=segments))
    categories = [dict(id=index, name=name, isthing=int(name in things))
                  for name, index in number.items()]
    return dict(images=found['images'], annotations=annotations, categories=categories)


def segments() -> np.ndarray:
    """The map of `panoptic`'s segments, (h, w, 3) uint8 in BGR: the number stands in the red."""
    image = np.zeros((*SIZE, 3), dtype=np.uint8)
    image[..., 2] = len(BOXES) + 1
    for index, (x, y, w, h) in enumerate(BOXES):
        image[y:y + h, x:x + w, 2] = index + 1
    return image


class Folder:
    """A data set on disk, made once, that many configs are pointed at.

    Args:
        root: Where it is written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.images = root / 'images'
        self.seg = root / 'seg'
        self.panoptic = root / 'panoptic'
        self._written: set[str] = set()
        for folder in (self.images, self.seg, self.panoptic):
            folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(0)
        for index in range(IMAGES):
            pixels = rng.integers(0, 256, (SIZE[0] // 8, SIZE[1] // 8, 3), dtype=np.uint8)
            cv2.imwrite(str(self.images / f'{index}.jpg'), cv2.resize(pixels, SIZE[::-1]))
            labels = rng.integers(0, 20, (SIZE[0] // 40, SIZE[1] // 40), dtype=np.uint8)
            cv2.imwrite(str(self.seg / f'{index}.png'),
                        cv2.resize(labels, SIZE[::-1], interpolation=cv2.INTER_NEAREST))
            cv2.imwrite(str(self.panoptic / f'{index}.png'), segments())

    def serve(self, cfg: dict[str, Any]) -> None:
        """Points every dataset of a plain config's training at this data, in place."""
        for path, dataset in walk(cfg.get('train_dataloader'), 'train_dataloader'):
            if 'ann_file' in dataset and 'type' in dataset:
                self._point(dataset, path)

    def _point(self, dataset: dict[str, Any], path: str) -> None:
        kind, seg = type_name(dataset), 'seg'
        if kind == 'CrowdHumanDataset':
            name, content = 'train.odgt', crowdhuman()
            self._write('id_hw_train.json', json.dumps(
                {str(image): SIZE for image in range(IMAGES)}))
        elif kind == 'CocoPanopticDataset':
            classes = classes_of(dataset)
            name = f'panoptic{len(classes)}.json'
            things = DATASETS.get(dataset['type']).METAINFO['thing_classes']
            content = json.dumps(panoptic(classes, [one for one in classes if one in things]))
            seg = 'panoptic'
        else:
            classes = classes_of(dataset)
            name = f'{kind}{len(classes)}.json'
            content = json.dumps(coco(classes))
        self._write(name, content)
        prefix = dataset.get('data_prefix') or {'img': ''}
        dataset.update(
            data_root=str(self.root), ann_file=name,
            data_prefix={key: seg if key == 'seg' else 'images' for key in prefix})
        if dataset.get('proposal_file'):
            dataset['proposal_file'] = self._proposals()

    def _write(self, name: str, content: str) -> None:
        if name not in self._written:
            (self.root / name).write_text(content)
            self._written.add(name)

    def _proposals(self) -> str:
        """Region proposals as mmdet's DumpProposals writes them."""
        from mmengine.structures import InstanceData
        boxes = np.array([[x, y, x + w, y + h] for x, y, w, h in BOXES], dtype=np.float32)
        moved = np.concatenate([boxes, boxes + 4, boxes * 0.9])
        found = {f'images/{image}.jpg': InstanceData(
            bboxes=moved, scores=np.linspace(1, 0.1, len(moved), dtype=np.float32))
            for image in range(IMAGES)}
        path = self.root / 'proposals.pkl'
        path.write_bytes(pickle.dumps(found))
        return str(path)
