"""Dialogues made harder: noise that people make, meanings that change, and attacks that look for the worst of it.

Reads in this order: edits, draws, text_view, family; the families of English, Chinese and Unicode; dialogue,
dialogue_noise and meaning; policy, which makes a corpus harder; search and attack, which look for what hurts most.
"""
