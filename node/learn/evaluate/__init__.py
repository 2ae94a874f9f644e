"""What a model is worth, in figures with their intervals: of predictions that it made of cases it never saw."""
