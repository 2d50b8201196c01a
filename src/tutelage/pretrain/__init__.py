"""A model from nothing: from text and a shape to weights, with bits per byte to show for it."""
