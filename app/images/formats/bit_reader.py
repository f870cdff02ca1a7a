"""A codec's header, read bit by bit."""


class Bits:
    """Raises IndexError behind the last bit."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, count: int) -> int:
        """An unsigned number of that many bits, the highest first."""
        self._left -= count
        if self._left < 0:
            raise IndexError("the header ends early")
        return self._value >> self._left & (1 << count) - 1

    def golomb(self) -> int:
        """HEVC's ue(v), and AV1's uvlc()."""
        zeros = 0
        while zeros < 32 and not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)
