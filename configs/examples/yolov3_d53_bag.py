# YOLOv3-DarkNet53 at 608 px, the detector of the bag-of-freebies paper (arXiv 1902.04103), with the
# whole bag. 16 images a process in place of 8: the rate follows by linear_lr.
_base_ = [
    'mmdet::yolo/yolov3_d53_8xb8-ms-608-273e_coco.py',
    '../recipes/bag_of_freebies.py',
]
train_dataloader = dict(batch_size=16)
