"""Text that can be shown anywhere."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return ``text`` with letters that nothing can show, such as codes that move a terminal's cursor, as escapes."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "backslashreplace").decode() for letter in text
    )
