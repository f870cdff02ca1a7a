"""Decoding: from the bytes of a picture's file to uint8 [96,96], within limits on pixels, memory and time."""
