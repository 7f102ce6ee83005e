"""How good a model is: bits per byte, right answers, and the report of both."""
