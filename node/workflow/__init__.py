"""What a fact sets off: closing, assignment, reading, ranking, reporting, identity.

Each function reads the store, asks triage, and writes the store inside the caller's transaction.
"""
