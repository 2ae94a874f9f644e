"""The only SQL, and the only writer below the data folder.

Functions that write expect to be called inside `db.transaction()`: the caller decides what belongs together.
"""
