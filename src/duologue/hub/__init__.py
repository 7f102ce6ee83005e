"""In and out: which folder a model's name means, and how models come from elsewhere and go there."""
