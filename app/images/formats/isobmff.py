"""Structural check of an AVIF or HEIC: finds what its decoder will have to decode (ISO/IEC 14496-12 and 23008-12).

Such a file is a tree of boxes. Its `meta` box lists items: pictures, tiles of pictures, and metadata.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from app.errors import UndecodablePicture, UnsupportedFormat
from app.images.formats.codec_headers import UnitLimit, av1_pixels, hevc_pixels
from app.images.formats.limits import MAX_EXIF_BYTES, MAX_PARTS, too_many

MAX_ITEMS = 1024
"""Items in a file. A phone's picture has 50, one of 48 megapixels 200."""

MAX_METADATA_BYTES = 4 * 1024 * 1024
"""EXIF data and other metadata that are attached to items, counted once for each item."""

MAX_CODED_BYTES = 12 * 1024 * 1024
"""Compressed data of the primary picture."""

MAX_PROPERTY_BYTES = 64 * 1024
"""A property that is read here: the configuration of a decoder, or what an auxiliary picture is for."""

MAX_BRAND_BYTES = 1024

DECODE_COST = {b"av01": (1 / 3, 5), b"hvc1": (1, 0.5)}
"""By codec: what a decoded pixel counts as, and how many decoded pixels take as long as a compressed byte."""

Span = tuple[int, int]
"""Offsets of the beginning and the end of a box's content."""


@dataclass
class Items:
    """The items of a `meta` box, by their identifiers in the file."""

    primary: int = 0
    types: dict[int, bytes] = field(default_factory=dict)
    extents: dict[int, list[Span]] = field(default_factory=dict)
    references: dict[tuple[bytes, int], list[int]] = field(default_factory=lambda: defaultdict(list))
    """Reference type and referring item → items referred to."""
    properties: dict[int, list[tuple[bytes, Span]]] = field(default_factory=lambda: defaultdict(list))


@dataclass(frozen=True)
class Still:
    """The primary picture of a file, and what decoding costs."""

    codec: bytes
    """av01 or hvc1."""
    pixels: int
    """Pixels that are decoded for its color."""
    decode_cost: float
    """The pixels that it counts as by decoding time: those for color and transparency, and its compressed bytes."""
    thumbnail_pixels: int
    """Pixels that are decoded for all its thumbnails."""
    data: bytes
    """The file. The track of an animation is hidden, so that the primary picture remains."""


def read_still(data: bytes) -> Still:
    """Raises UndecodablePicture for damage or more than any picture has, and UnsupportedFormat for other codecs."""
    boxes = defaultdict[bytes, list[Span]](list)
    for kind, start, end in _boxes(data, 0, len(data)):
        boxes[kind].append((start, end))
    if len(boxes[b"meta"]) != 1:
        raise UndecodablePicture("the file has no picture in it, or only a video")
    items = _read_items(data, boxes[b"meta"][0])
    colors = _coded_items(items, items.primary)
    codec = items.types[colors[0]]
    if codec not in DECODE_COST or any(items.types[item] != codec for item in colors):
        raise UnsupportedFormat(f"the data is a HEIF with {codec.decode('latin-1')!r} in it: convert it to JPEG or PNG")
    auxiliary = _referring_items(items, b"auxl", {items.primary, *colors})
    alphas = [part for item in auxiliary if _is_alpha(data, items, item) for part in _coded_items(items, item)]
    coded_bytes = sum(_size(items, item) for item in (*colors, *alphas))
    if coded_bytes > MAX_CODED_BYTES:
        raise UndecodablePicture("the picture takes too long to decompress")
    units = UnitLimit()
    pixels, alpha_pixels = (sum(_pixels(data, items, item, units) for item in coded) for coded in (colors, alphas))
    pixel_cost, byte_cost = DECODE_COST[codec]
    decode_cost = pixel_cost * (pixels + alpha_pixels + byte_cost * coded_bytes)
    thumbnails = [item for item in _referring_items(items, b"thmb", {items.primary}) if items.types[item] == codec]
    thumbnail_pixels = sum(_pixels(data, items, item, units) for item in thumbnails)
    still = _hide_animation(data, boxes, b"avif" if codec == b"av01" else b"heic")
    return Still(codec, pixels, decode_cost, thumbnail_pixels, still)


def _coded_items(items: Items, item: int) -> list[int]:
    """The items that are decoded for an item: itself, or the tiles of a grid."""
    is_derived = items.types[item] in (b"grid", b"iden")
    parts = items.references.get((b"dimg", item), []) if is_derived else [item]
    is_nested = any(items.types[part] in (b"grid", b"iden", b"iovl") for part in parts)
    if not parts or len(parts) > MAX_ITEMS or len(parts) > len(set(parts)) or is_nested:
        raise UndecodablePicture("the file's picture is put together in a way that is not read here")
    return parts


def _referring_items(items: Items, kind: bytes, targets: set[int]) -> list[int]:
    return [item for item in items.types if targets & set(items.references.get((kind, item), ()))]


def _property(data: bytes, items: Items, item: int, kind: bytes) -> bytes | None:
    """The item's only property of that kind, or None."""
    spans = [span for name, span in items.properties.get(item, ()) if name == kind]
    if not spans:
        return None
    (start, end), *others = spans
    if others or end - start > MAX_PROPERTY_BYTES:
        raise too_many("properties")
    return data[start:end]


def _is_alpha(data: bytes, items: Items, item: int) -> bool:
    kind = _property(data, items, item, b"auxC")
    return kind is None or b"alpha" in kind or b"auxid:1" in kind


def _size(items: Items, item: int) -> int:
    return sum(end - start for start, end in items.extents.get(item, ()))


def _pixels(data: bytes, items: Items, item: int, units: UnitLimit) -> int:
    content = b"".join(data[start:end] for start, end in items.extents[item])
    if items.types[item] == b"av01":
        pixels = av1_pixels(content, units)
    else:
        configuration = _property(data, items, item, b"hvcC")
        pixels = hevc_pixels(content, configuration, units) if configuration else 0
    if not pixels:
        raise UndecodablePicture("the file has no picture in it, or only a video")
    return pixels


def _hide_animation(data: bytes, boxes: dict[bytes, list[Span]], brand: bytes) -> bytes:
    """The file with the brand of a still picture and without tracks, so that its decoder opens the primary picture."""
    (start, end), *_ = boxes[b"ftyp"]
    if b"moov" not in boxes and data[start : start + 4] == brand:
        return data
    if end - start > MAX_BRAND_BYTES:
        raise too_many("brands")
    changed = bytearray(data)
    changed[start : start + 4] = brand
    for at in range(start + 8, end - 3, 4):
        if bytes(changed[at : at + 4]) in (b"avis", b"msf1", b"hevc", b"hevx"):
            changed[at : at + 4] = brand
    for start, _ in boxes[b"moov"]:
        at = changed.rindex(b"moov", 0, start)
        changed[at : at + 4] = b"free"
    return bytes(changed)


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Type of each box, and the offsets of the beginning and the end of its content."""
    for _ in range(MAX_PARTS):
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


class _FullBox:
    """Reads the numbers of a box, all big-endian. A full box begins with its version and its flags."""

    def __init__(self, data: bytes, span: Span) -> None:
        self.data, (self.at, self.end) = data, span
        self.version, self.flags = self.read(1), self.read(3)

    def read(self, length: int) -> int:
        """The next number, of that many bytes."""
        self.at += length
        if self.at > self.end:
            raise UndecodablePicture("the picture is truncated or damaged")
        return int.from_bytes(self.data[self.at - length : self.at], "big")


def _read_items(data: bytes, meta: Span) -> Items:
    boxes = dict[bytes, Span]()
    for kind, start, end in _boxes(data, meta[0] + 4, meta[1]):
        if kind in boxes and kind != b"free":
            raise UndecodablePicture("the picture's header has a box twice")
        boxes[kind] = start, end
    items = Items()
    box = _FullBox(data, boxes[b"pitm"])
    items.primary = box.read(4 if box.version else 2)
    box = _FullBox(data, boxes[b"iinf"])
    box.read(4 if box.version else 2)
    for _, start, end in _boxes(data, box.at, box.end):
        entry = _FullBox(data, (start, end))
        item = entry.read(4 if entry.version == 3 else 2)
        entry.read(2)
        items.types[item] = entry.read(4).to_bytes(4, "big")
    if len(items.types) > MAX_ITEMS:
        raise too_many("items")
    _read_extents(data, boxes, items)
    if b"iref" in boxes:
        _read_references(data, boxes[b"iref"], items)
    _read_properties(data, boxes[b"iprp"], items)
    _check_metadata(items)
    return items


def _read_extents(data: bytes, boxes: dict[bytes, Span], items: Items) -> None:
    box = _FullBox(data, boxes[b"iloc"])
    sizes = box.read(2)
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    id_size = 4 if box.version == 2 else 2
    total = count = 0
    for _ in range(box.read(id_size)):
        item = box.read(id_size)
        method = box.read(2) & 15 if box.version else 0
        box.read(2)
        base = box.read(base_size)
        spans, extents = items.extents.setdefault(item, []), box.read(2)
        count += 1 + extents
        if method > 1 or count > 4 * MAX_ITEMS:
            raise too_many("extents")
        for _ in range(extents):
            box.read(index_size if box.version else 0)
            at, size = base + box.read(offset_size), box.read(length_size)
            at += boxes[b"idat"][0] if method == 1 else 0
            if at > len(data):
                raise UndecodablePicture("the picture is truncated or damaged")
            spans.append((at, min(at + size, len(data)) if size else len(data)))
            total += spans[-1][1] - at
            if total > 2 * len(data):
                raise too_many("extents, or the same bytes more often,")


def _read_references(data: bytes, span: Span, items: Items) -> None:
    box, total = _FullBox(data, span), 0
    id_size = 4 if box.version else 2
    for kind, start, end in _boxes(data, box.at, box.end):
        reference = _FullBox(data, (start - 4, end))  # these boxes have neither version nor flags
        item, count = reference.read(id_size), reference.read(2)
        total += count
        if total > 4 * MAX_ITEMS:
            raise too_many("references")
        items.references[kind, item] += [reference.read(id_size) for _ in range(count)]


def _read_properties(data: bytes, span: Span, items: Items) -> None:
    boxes, total = list(_boxes(data, *span)), 0
    (ipco,) = [(start, end) for kind, start, end in boxes if kind == b"ipco"]
    properties = [(kind, (start, end)) for kind, start, end in _boxes(data, *ipco)]
    if any(kind == b"iscl" for kind, _ in properties):
        raise UndecodablePicture("the file's picture is put together in a way that is not read here")
    for kind, start, end in boxes:
        if kind != b"ipma":
            continue
        box = _FullBox(data, (start, end))
        for _ in range(box.read(4)):
            item, count = box.read(4 if box.version else 2), box.read(1)
            total += 1 + count
            if total > 16 * MAX_ITEMS:
                raise too_many("properties")
            for _ in range(count):
                index = box.read(2) & 0x7FFF if box.flags & 1 else box.read(1) & 0x7F
                if 0 < index <= len(properties):
                    items.properties[item].append(properties[index - 1])


def _check_metadata(items: Items) -> None:
    attached = 0
    for item, kind in items.types.items():
        size = _size(items, item)
        if kind == b"Exif" and size > MAX_EXIF_BYTES:
            raise too_many("EXIF data")
        attached += size * len(items.references.get((b"cdsc", item), ()))
    if attached > MAX_METADATA_BYTES:
        raise too_many("metadata")
