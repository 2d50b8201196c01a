"""Text for pretraining: read, filtered, freed of duplicates, mixed, and stored as tokens.

Everything here streams: a corpus may be larger than memory. `docs/corpus.md` shows the flow.
"""
