"""An AVIF's or HEIC's boxes (ISO/IEC 14496-12 and 23008-12): what its decoder will have to do, before it is asked."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from app.errors import UndecodablePicture, UnsupportedFormat
from app.images.formats.codec_headers import av1_pixels, hevc_pixels
from app.images.formats.limits import EXIF, PARTS, too_many

ITEMS = 1024
"""Pictures, tiles and other data in a file; a phone's has 50, of 48 megapixels 200."""

METADATA = 4 * 1024 * 1024
"""Bytes of EXIF data and other metadata that are attached to pictures."""

LONGEST = 12 * 1024 * 1024
"""Bytes of a picture's pixels."""

EFFORT = {b"av01": (1 / 3, 5), b"hvc1": (1, 0.5)}
"""What of the pixels allowed each takes that is decoded, by codec, and how many pixels take as long as a byte does."""

Span = tuple[int, int]
"""Where a box's content begins, and where it ends."""


@dataclass
class Contents:
    """What the boxes say; identifiers are the file's."""

    primary: int = 0
    kinds: dict[int, bytes] = field(default_factory=dict)
    extents: dict[int, list[Span]] = field(default_factory=dict)
    references: dict[tuple[bytes, int], list[int]] = field(default_factory=lambda: defaultdict(list))
    """By kind and by who refers: to whom."""
    properties: dict[int, list[tuple[bytes, Span]]] = field(default_factory=lambda: defaultdict(list))


@dataclass(frozen=True)
class Still:
    """The picture that is shown of a file, with nothing beside it that moves."""

    codec: bytes
    """av01 or hvc1."""
    pixels: int
    """That are decoded for its colours."""
    effort: float
    """The same with those for its transparency and each byte of all that, weighed by the time they take."""
    thumbnails: int
    """Pixels that are decoded for all its small copies."""
    data: bytes
    """The file; of an animation its film is hidden, and its first picture remains."""


def read(data: bytes) -> Still:
    """Raises UndecodablePicture for damage, or more than any picture has, and UnsupportedFormat for other codecs."""
    found = defaultdict[bytes, list[Span]](list)
    for kind, start, end in _boxes(data, 0, len(data)):
        found[kind].append((start, end))
    if len(found[b"meta"]) != 1:
        raise UndecodablePicture("the file has no picture in it, or a film alone")
    contents = _contents(data, found[b"meta"][0])
    colours = _coded(contents, contents.primary)
    codec = contents.kinds[colours[0]]
    if codec not in EFFORT or any(contents.kinds[item] != codec for item in colours):
        raise UnsupportedFormat(f"the data is a HEIF with {codec.decode('latin-1')!r} in it: convert it to JPEG or PNG")
    shown = {contents.primary, *colours}
    veils = [item for item in contents.kinds if shown & set(contents.references.get((b"auxl", item), ()))]
    alphas = [part for item in veils if _is_alpha(data, contents, item) for part in _coded(contents, item)]
    lengths = sum(end - start for item in (*colours, *alphas) for start, end in contents.extents.get(item, ()))
    if lengths > LONGEST:
        raise UndecodablePicture("the picture takes too long to decompress")
    pixels = sum(_pixels(data, contents, item) for item in colours)
    scale, byte = EFFORT[codec]
    effort = scale * (pixels + sum(_pixels(data, contents, item) for item in alphas) + byte * lengths)
    copies = [item for item in contents.kinds if contents.primary in contents.references.get((b"thmb", item), ())]
    thumbnails = sum(_pixels(data, contents, item) for item in copies if contents.kinds[item] == codec)
    return Still(
        codec, pixels, effort, thumbnails, _without_film(data, found, b"avif" if codec == b"av01" else b"heic")
    )


def _coded(contents: Contents, item: int) -> list[int]:
    """The items that are decoded for one: itself, or a grid's tiles."""
    kind = contents.kinds[item]
    parts = contents.references.get((b"dimg", item), []) if kind in (b"grid", b"iden") else [item]
    if not parts or len(parts) > ITEMS or any(contents.kinds[part] in (b"grid", b"iden", b"iovl") for part in parts):
        raise UndecodablePicture("the file's picture is put together in a way that is not read here")
    return parts


def _is_alpha(data: bytes, contents: Contents, item: int) -> bool:
    kinds = [data[start:end] for kind, (start, end) in contents.properties.get(item, ()) if kind == b"auxC"]
    return not kinds or any(b"alpha" in kind or b"auxid:1" in kind for kind in kinds)


def _pixels(data: bytes, contents: Contents, item: int) -> int:
    content = b"".join(data[start:end] for start, end in contents.extents[item])
    if contents.kinds[item] == b"av01":
        return av1_pixels(content)
    configurations = [data[start:end] for kind, (start, end) in contents.properties[item] if kind == b"hvcC"]
    return max(hevc_pixels(content, configuration) for configuration in configurations)


def _without_film(data: bytes, found: dict[bytes, list[Span]], brand: bytes) -> bytes:
    """The same file as a still picture's, so that its decoder begins with that."""
    (start, end), *_ = found[b"ftyp"]
    if b"moov" not in found and data[start : start + 4] == brand:
        return data
    changed = bytearray(data)
    changed[start : start + 4] = brand
    for at in range(start + 8, end - 3, 4):
        if bytes(changed[at : at + 4]) in (b"avis", b"msf1", b"hevc", b"hevx"):
            changed[at : at + 4] = brand
    for start, _ in found[b"moov"]:
        at = changed.rindex(b"moov", 0, start)
        changed[at : at + 4] = b"free"
    return bytes(changed)


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, begin and end of the content."""
    for _ in range(PARTS):
        if at + 8 > end:
            return
        size, kind, head = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        stop = end if size == 0 else at + size
        if not at + head <= stop <= end:
            raise UndecodablePicture("the picture is truncated or damaged")
        yield kind, at + head, stop
        at = stop
    raise too_many("boxes")


class _Numbers:
    """Big-endian numbers, one behind another, of a box whose first four bytes are its version and flags."""

    def __init__(self, data: bytes, span: Span) -> None:
        self.data, (self.at, self.end) = data, span
        self.version, self.flags = self.take(1), self.take(3)

    def take(self, count: int) -> int:
        self.at += count
        if self.at > self.end:
            raise UndecodablePicture("the picture is truncated or damaged")
        return int.from_bytes(self.data[self.at - count : self.at], "big")


def _contents(data: bytes, meta: Span) -> Contents:
    parts = dict[bytes, Span]()
    for kind, start, end in _boxes(data, meta[0] + 4, meta[1]):
        if kind in parts and kind != b"free":
            raise UndecodablePicture("the picture's header says things twice")
        parts[kind] = start, end
    contents = Contents()
    numbers = _Numbers(data, parts[b"pitm"])
    contents.primary = numbers.take(4 if numbers.version else 2)
    numbers = _Numbers(data, parts[b"iinf"])
    numbers.take(4 if numbers.version else 2)
    for _, start, end in _boxes(data, numbers.at, numbers.end):
        entry = _Numbers(data, (start, end))
        item = entry.take(4 if entry.version == 3 else 2)
        entry.take(2)
        contents.kinds[item] = entry.take(4).to_bytes(4, "big")
    if len(contents.kinds) > ITEMS:
        raise too_many("items")
    _read_extents(data, parts, contents)
    if b"iref" in parts:
        _read_references(data, parts[b"iref"], contents)
    _read_properties(data, parts[b"iprp"], contents)
    _check_metadata(contents)
    return contents


def _read_extents(data: bytes, parts: dict[bytes, Span], contents: Contents) -> None:
    numbers = _Numbers(data, parts[b"iloc"])
    sizes = numbers.take(2)
    offset, length, base, index = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    wide = numbers.version == 2
    total = count = 0
    for _ in range(numbers.take(4 if wide else 2)):
        item = numbers.take(4 if wide else 2)
        method = numbers.take(2) & 15 if numbers.version else 0
        numbers.take(2)
        start = numbers.take(base)
        spans = contents.extents.setdefault(item, [])
        for _ in range(numbers.take(2)):
            numbers.take(index if numbers.version else 0)
            at, size = start + numbers.take(offset), numbers.take(length)
            at += parts[b"idat"][0] if method == 1 else 0
            spans.append((at, min(at + size, len(data)) if size else len(data)))
            count, total = count + 1, total + spans[-1][1] - at
            if method > 1 or count > 4 * ITEMS or total > 2 * len(data):
                raise too_many("extents, or the same bytes more often,")


def _read_references(data: bytes, span: Span, contents: Contents) -> None:
    numbers, total = _Numbers(data, span), 0
    width = 4 if numbers.version else 2
    for kind, start, end in _boxes(data, numbers.at, numbers.end):
        reference = _Numbers(data, (start - 4, end))  # these boxes have no version
        item, count = reference.take(width), reference.take(2)
        total += count
        if total > 4 * ITEMS:
            raise too_many("references")
        contents.references[kind, item] += [reference.take(width) for _ in range(count)]


def _read_properties(data: bytes, span: Span, contents: Contents) -> None:
    properties, total = [], 0
    for kind, start, end in _boxes(data, *span):
        if kind == b"ipco":
            properties = [(kind, (at, stop)) for kind, at, stop in islice(_boxes(data, start, end), 4 * ITEMS)]
    if any(kind == b"iscl" for kind, _ in properties):
        raise UndecodablePicture("the file's picture is put together in a way that is not read here")
    for kind, start, end in _boxes(data, *span):
        if kind != b"ipma":
            continue
        numbers = _Numbers(data, (start, end))
        for _ in range(numbers.take(4)):
            item = numbers.take(4 if numbers.version else 2)
            for _ in range(numbers.take(1)):
                place = numbers.take(2) & 0x7FFF if numbers.flags & 1 else numbers.take(1) & 0x7F
                total += 1
                if total > 16 * ITEMS:
                    raise too_many("properties")
                if 0 < place <= len(properties):
                    contents.properties[item].append(properties[place - 1])


def _check_metadata(contents: Contents) -> None:
    attached = 0
    for item, kind in contents.kinds.items():
        size = sum(end - start for start, end in contents.extents.get(item, ()))
        if kind == b"Exif" and size > EXIF:
            raise too_many("EXIF data")
        attached += size * len(contents.references.get((b"cdsc", item), ()))
    if attached > METADATA:
        raise too_many("metadata")
