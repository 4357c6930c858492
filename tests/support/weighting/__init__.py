"""What the tests of mixup's weighting share."""
