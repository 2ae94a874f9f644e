"""Delivers results: reads the outbox, asks the gate, and sends the stored bytes, one process a destination."""
