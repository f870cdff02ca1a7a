"""Names the formats that are not supported, and says what to send instead: the text of a 415."""

import re

CONVERT = "convert it to JPEG or PNG"
EXPORT = "export the picture as JPEG or PNG"

UNSUPPORTED_FORMATS: tuple[tuple[bytes, str, str], ...] = (
    (rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", "a JPEG 2000", CONVERT),
    (rb"\0\0\0\x0cJXL \r\n\x87\n|\xff\x0a", "a JPEG XL", CONVERT),
    (rb"II\xbc\x01|WMPHOTO", "a JPEG XR", CONVERT),
    (rb"8BPS\0[\x01\x02]", "a Photoshop document (PSD)", EXPORT),
    (rb"gimp xcf ", "a GIMP document (XCF)", EXPORT),
    (rb"%PDF-", "a PDF", "send a picture of the page as PNG or JPEG"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "PostScript (EPS)", "render it as PNG"),
    (rb"(?>(?:<\?xml[^>]*>|<!--.*?-->|<!DOCTYPE svg[^>]*>)\s*)*<svg[\s>]", "an SVG", "render it as PNG"),
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
"""Regular expression for the first bytes after white space, name of the format, and advice. The first match counts.

What is repeated is in an atomic group. Else the number of ways to match many comments would be exponential.
"""

INSPECTED_BYTES = 4096

CAMERA_RAW = rb"NIKON|SONY|\x00ARW|PENTAX|HASSELBLAD|Phase One|EASTMAN KODAK|Canon|\x12\xc6\x01\0\x04\0"
"""A camera maker, or the tag with the version of DNG, in the first bytes of a TIFF with raw sensor data."""


def describe_unsupported(data: bytes) -> str | None:
    """The text of a 415 for a file that could not be opened; None if its format is not known."""
    begin = data[:INSPECTED_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    for pattern, name, advice in UNSUPPORTED_FORMATS:
        if re.match(pattern, begin, re.DOTALL | re.IGNORECASE):
            return f"the data is {name}, which is not read here: {advice}"
    if data.startswith((b"II*\0", b"MM\0*")) and re.search(CAMERA_RAW, begin, re.IGNORECASE):
        return "the data is a camera's raw picture (DNG, NEF, ARW or CR2), which is not read here: develop it to JPEG"
    return None
