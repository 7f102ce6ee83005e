"""Tokens to logits: a decoder of the Llama/Qwen3 family, and the folder that holds one."""
