"""How long a training waits for its data, what is to blame, and what would help."""
