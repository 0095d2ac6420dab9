"""Pieces of SQL text."""


def literal(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def pattern(text: str) -> str:
    """A LIKE pattern for whatever contains a text."""
    return "'%" + text + "%'"
