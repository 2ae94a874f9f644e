"""Decisions, pure: is a study complete, which series suits which model, how urgent is it. No clock, disk or net."""
