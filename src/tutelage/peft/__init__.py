"""Ways of tuning a model: one file each, attached by role, never by an architecture's names."""

from tutelage.registry import Registry

METHODS = Registry(
    "tutelage.peft",
    kind="method",
    attribute="METHOD",
    parts=("arithmetic", "extract", "layout", "merged", "open", "switch"),
)
