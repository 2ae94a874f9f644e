"""The child that lays a prior on a study: `python -m node.infer.comparing_process`.

It reads a `Question` from standard input until that ends, and writes one `Answer`. It may crash, hang or run out of
memory as it likes: whoever started it knows what to do.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from node.infer.confinement import be_expendable, confine


def main() -> int:
    """Answer one question; return the exit code."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else is printed
    be_expendable()
    os.nice(_NICE)
    question = sys.stdin.buffer.read()
    confine(Path(__file__).resolve().parents[1])
    # Only now: a process with threads, and NumPy starts some, gets no namespaces.
    from node.infer.compared import answered

    answers.write(answered(question))
    answers.close()
    return 0


#: Models go first.
_NICE = 5

if __name__ == "__main__":
    sys.exit(main())
