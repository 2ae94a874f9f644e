"""The origin server of the Store Transaction (STOW-RS, PS3.18 §10.5): objects over HTTP, in the listen room's process.

One thread a connection, as for associations. Nothing of a body is kept in memory but the piece at hand. Matins is no
archive: it stores to read, and offers no resource under a Retrieve URL (0008,1190).
"""
