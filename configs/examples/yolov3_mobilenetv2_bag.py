# YOLOv3-MobileNetV2 at 416 px with the bag, in 16-bit mixed precision. A light backbone leaves more
# of the time to the data: images, or their files, stay in memory as they fit (data_cache).
_base_ = [
    'mmdet::yolo/yolov3_mobilenetv2_8xb24-ms-416-300e_coco.py',
    '../recipes/bag_of_freebies.py',
]
tricks = dict(amp=dict(), data_cache=dict())
