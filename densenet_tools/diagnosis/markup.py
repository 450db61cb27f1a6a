"""What strangers call their layers, as a page may have it."""

from html import escape


def escaped(text: object) -> str:
    """In one line, none of it read as markup; what cannot be seen, or written in UTF-8, is spelled out."""
    return escape("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text)))
