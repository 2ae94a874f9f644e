"""Words that tell nobody although somebody may bear them as a name: those that the program and the standard write."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path

from pydicom._dicom_dict import DicomDictionary

_LETTERS = re.compile(r"[a-z]{2,}")
_OURS = ("*.py", "*.html", "*.css", "*.md")
#: Brings names of made-up patients.
_NO_WORDS_OF_OURS = "demo"


#: A word of fewer files may be a name in an example.
_FILES = 3


@cache
def common_words() -> frozenset[str]:
    """Words of the data dictionary of DICOM, and of what Matins itself writes, in small letters."""
    found = {word for entry in DicomDictionary.values() for word in _LETTERS.findall(f"{entry[2]} {entry[4]}".lower())}
    counted: Counter[str] = Counter()
    root = Path(__file__).resolve().parents[2]
    for pattern in _OURS:
        for file in root.rglob(pattern):
            if _NO_WORDS_OF_OURS not in file.relative_to(root).parts:
                counted.update(set(_LETTERS.findall(file.read_text(encoding="utf-8", errors="replace").lower())))
    return frozenset(found | {word for word, files in counted.items() if files >= _FILES})
