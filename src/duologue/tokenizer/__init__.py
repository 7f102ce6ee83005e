"""Text to tokens and back: byte-level BPE, stream-safe decoding, the chat template."""
