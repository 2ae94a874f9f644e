"""The door: what scanners and archives send is taken in, made durable, indexed, acknowledged, and then described.

association (who calls, accepted or refused) → intakes (bytes in) → arrival (durable and indexed) → describe (a child
with limits reads the full header). Nothing here knows models, and nothing received is parsed by more than a short
walk in the process that listens.
"""
