"""Studies taken for training: nobody can be told from them, and what was left in is found."""
