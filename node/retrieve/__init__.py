"""Asks others for what they know; each question is put by a process of its own that can be killed."""
