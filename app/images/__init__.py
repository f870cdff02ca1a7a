"""From the bytes of a file to a 96×96 picture, within limits."""
