"""The built-in corpus: bilingual dialogues that teach what a small model can learn in minutes, made here from a seed."""
