"""Turn after turn: a conversation that goes on, in memory and in the terminal."""
