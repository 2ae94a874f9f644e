"""Structured reports: the document, its content trees, and what they refer to."""
