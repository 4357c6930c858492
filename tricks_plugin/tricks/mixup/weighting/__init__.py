"""Weighting each box's loss terms by its mixing ratio, one module per family of heads.

`families` names the families and needs no mmdet; `hook` attaches their adapters to a built model.
"""
