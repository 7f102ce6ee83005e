"""Logits to weights: one loop; a stage is an objective, data and defaults."""
