"""Python programs of strangers, run where they can do no harm (docs/sandbox.md)."""
