"""What triage does to waiting times, simulated before it is switched on, and compared with queueing theory."""
