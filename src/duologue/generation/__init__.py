"""Weights to text: one primitive (rows of tokens, and what each may see), and all ways of decoding built on it."""
