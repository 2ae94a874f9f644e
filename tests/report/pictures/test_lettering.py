"""What is written in pixels can be read, whatever the letters."""

from __future__ import annotations

import pytest

from node.report.pictures.lettering import font, is_written, legible, wrapped


@pytest.mark.parametrize("text", ["Volume 12.3 mL", "Gehirn, groß", "Œdème périlésionnel", "5 µm² ± 0.1 °C ≥ 3"])
def test_latin_letters_and_signs_of_units_are_written_as_they_are(text: str) -> None:
    assert legible(text) == text
    assert is_written(text)


@pytest.mark.parametrize(
    ("text", "written"), [("ȧǹ", "an"), ("脳", "[U+8133]"), ("fine\ttwo\nlines", "fine two lines")]
)
def test_what_the_font_lacks_is_written_otherwise(text: str, written: str) -> None:
    assert legible(text) == written


def test_a_letter_is_never_an_empty_box() -> None:
    box = bytes(font(16).getmask("\U0010fffd"))
    for letter in legible("Ω мозг 脑 🧠 \x00 \x1b"):
        assert letter == " " or bytes(font(16).getmask(letter)) != box


def test_lines_are_no_wider_than_the_page() -> None:
    text = "a title that goes on and on " * 5 + "andawordthatislongerthanthepageiswide" * 3
    lines = wrapped(text, 300, font(17))
    assert all(font(17).getlength(line) <= 300 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
