"""HL7 v2 as the one who tells: messages from editable templates, and MLLP."""
