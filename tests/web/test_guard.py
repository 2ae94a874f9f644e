"""Names that are ours, and names that are not."""

from __future__ import annotations

import pytest

from node.web.guard import host_name, names_of


@pytest.mark.parametrize(
    ("header", "name"),
    [("a.b:80", "a.b"), ("A.B", "a.b"), ("[::1]:80", "::1"), ("[::1]", "::1"), ("", ""), (":80", ""), ("[", "")],
)
def test_the_name_is_read_from_the_header(header: str, name: str) -> None:
    assert host_name(header) == name


def test_a_local_address_goes_by_all_local_names() -> None:
    assert names_of("127.0.0.1") == names_of("localhost") == {"localhost", "127.0.0.1", "::1"}


def test_another_address_goes_by_itself_alone() -> None:
    assert names_of("192.0.2.7") == {"192.0.2.7"}
