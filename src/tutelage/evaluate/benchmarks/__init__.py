"""Benchmarks, one file each: the file's name is the task's. `_task.py` says what a task is."""

from __future__ import annotations

from tutelage.registry import Registry

TASKS = Registry("tutelage.evaluate.benchmarks", "task", "TASK", hyphens=False)
