"""Raise a language model through its whole life, and measure whether each step was worth it."""
