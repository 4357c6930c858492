"""The timm side: recipes for its stock script, flags, and a training script with tricks.

Importing this package imports nothing else. The parts, by what they need:

- `recipe`, `script`: the standard library only.
- `flags`: PyYAML as well.
- `plan`, `checks`, `run` and the rest: timm and torch, imported where they are used.
"""
