"""Engines: ways to lead a network over a volume. One module each; which is used is measured, model by model."""
