"""What each method does to a model's tensors: one file each or a family, needing PyTorch.

The method itself, its settings and what they cost, is in the folder above and imports this when a
model is at hand.
"""
