"""Heads of tasks in the place of the scores of tokens: one file each, for any architecture."""

from tutelage.registry import Registry

HEADS = Registry(
    "tutelage.heads", kind="head", attribute="HEAD", parts=("coder", "examples", "predict")
)
