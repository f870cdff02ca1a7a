"""The same checkpoint served by other frameworks, each used as its own documentation shows."""
