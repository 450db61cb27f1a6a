"""Names as a terminal may have them."""


def printable(text: object) -> str:
    """In one line, whatever names it repeats: none of them colors or clears a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
