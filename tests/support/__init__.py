"""What tests of several folders share: ``from support import sums``."""
