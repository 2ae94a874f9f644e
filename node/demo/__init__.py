"""The demo: an embedded archive, three made-up studies, and one night with the whole node."""
