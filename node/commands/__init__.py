"""What the commands of `cli.py` do, one module a family; only the rooms' door imports no typer."""
