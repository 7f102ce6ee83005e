"""A recipe run whole: recipe -> stages -> run folder, resumable at every step."""
