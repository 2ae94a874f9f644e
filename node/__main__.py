"""`python -m node ROOM` runs one room with nothing else loaded; any other command goes to the command line."""

from __future__ import annotations

import sys


def main(arguments: list[str]) -> int:
    """Run a room or a command; return the exit code."""
    from node.supervisor import ROOMS

    if arguments and arguments[0] in ROOMS:
        from node.commands import room

        return room.main(arguments)
    from node import cli

    cli.main()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
