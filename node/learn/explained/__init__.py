"""How far the explanations of a classifier can be trusted: measured on a sample of the cases that judge it."""
