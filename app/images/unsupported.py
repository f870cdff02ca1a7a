"""Files of kinds that are not read, by how they begin: what they are, and what to send instead."""

import re

CONVERT = "convert it to JPEG or PNG"
EXPORT = "export the picture as JPEG or PNG"

KINDS: tuple[tuple[bytes, str, str], ...] = (
    (rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", "a JPEG 2000", CONVERT),
    (rb"\0\0\0\x0cJXL \r\n\x87\n|\xff\x0a", "a JPEG XL", CONVERT),
    (rb"II\xbc\x01|WMPHOTO", "a JPEG XR", CONVERT),
    (rb"8BPS\0[\x01\x02]", "a Photoshop document (PSD)", EXPORT),
    (rb"gimp xcf ", "a GIMP document (XCF)", EXPORT),
    (rb"%PDF-", "a PDF", "send a picture of the page as PNG or JPEG"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "PostScript (EPS)", "render it as PNG"),
    (rb"(?:<\?xml[^>]*>\s*|<!--.*?-->\s*|<!DOCTYPE svg[^>]*>\s*)*<svg[\s>]", "an SVG", "render it as PNG"),
    (rb"\0\0[\x01\x02]\0[\x01-\xff]\0", "an icon or cursor (ICO)", CONVERT),
    (rb"P[1-6]\s|P7\n|P[Ff]\s", "a PNM (PPM, PGM or PBM)", CONVERT),
    (rb"icns\0", "an Apple icon (ICNS)", CONVERT),
    (rb"DDS \x7c\0\0\0", "a DirectDraw surface (DDS)", CONVERT),
    (rb"#\?RADIANCE|\x76\x2f\x31\x01", "a high dynamic range picture (HDR or EXR)", CONVERT),
    (rb"qoif\0", "a QOI", CONVERT),
    (rb"BPG\xfb", "a BPG", CONVERT),
    (rb"\x93NUMPY", "a NumPy array (.npy)", "save it as PNG, or send it to /v2 as a tensor"),
    (rb"....ftypcrx ", "a camera's raw picture (CR3)", "develop it to JPEG"),
    (rb"II[*]\0....CR\x02", "a camera's raw picture (CR2)", "develop it to JPEG"),
    (rb"IIRO|IIRS|MMOR|IIU\0|FUJIFILMCCD-RAW|FOVb", "a camera's raw picture", "develop it to JPEG"),
    (rb"....ftyp(?:qt|isom|iso\d|mp4|M4V|avc1|3g[p2]|dash|mmp4)", "a video (MP4 or MOV)", "send one of its frames"),
    (rb"....(?:moov|mdat|wide)", "a video (MOV)", "send one of its frames"),
    (rb"\x1a\x45\xdf\xa3", "a video (WebM or Matroska)", "send one of its frames"),
    (rb"RIFF....AVI ", "a video (AVI)", "send one of its frames"),
    (rb"PK\x03\x04|PK\x05\x06", "a zip archive", "send the pictures in it, several to /predict/batch"),
    (rb"\x1f\x8b|7z\xbc\xaf|Rar!\x1a|BZh\d|\xfd7zXZ|\x28\xb5\x2f\xfd", "a compressed file", "send the picture in it"),
    (rb"<!doctype html|<html|<head|<body", "a web page (HTML)", "send the picture, not the page that shows it"),
    (rb"version https://git-lfs", "a pointer of Git LFS", "fetch the picture with git lfs pull"),
)
"""Patterns, from a file's first byte or behind white space; the kind; what to do. The first that fits counts."""

LOOKED_AT = 4096
"""Bytes of a file."""

RAW = rb"NIKON|SONY|\x00ARW|PENTAX|HASSELBLAD|Phase One|EASTMAN KODAK|Canon|\x12\xc6\x01\0\x04\0"
"""In the first bytes of a TIFF that is a camera's raw picture: its make, or the tag with the version of DNG."""


def foreign(data: bytes) -> str | None:
    """What a file is that cannot be read, and what to do; None for what is not known either."""
    begin = data[:LOOKED_AT].removeprefix(b"\xef\xbb\xbf")
    begin = begin.lstrip(b" \t\r\n") if begin[:1] in b" \t\r\n" else begin
    for pattern, kind, todo in KINDS:
        if re.match(pattern, begin, re.DOTALL | re.IGNORECASE):
            return f"the data is {kind}, which is not read here: {todo}"
    if data.startswith((b"II*\0", b"MM\0*")) and re.search(RAW, begin, re.IGNORECASE):
        return "the data is a camera's raw picture (DNG, NEF, ARW or CR2), which is not read here: develop it to JPEG"
    return None
