"""Files that make a decoder work for long, or take much memory, or end."""

import io
import zlib

from PIL import Image

from tests.stages.making import pdf_of

CATALOGUE = b"<< /Type /Catalog /Pages 2 0 R >>"
PAGE = b"<< /Type /Page /Parent 2 0 R >>"


def unclosed_streams(mib: float) -> bytes:
    """Streams that never close an object: quadratic for who searches for their ends."""
    unit = b"/Type/ObjStm stream\nendstream\n"
    times = int(mib * (1 << 20)) // len(unit)
    return b"%PDF-1.7\n1 0 obj<</Type/Page>>endobj\n" + unit * times + b"%%EOF\n"


def deep_tree(depth: int) -> bytes:
    """A page below as many nodes."""
    nodes = {n: b"<< /Type /Pages /Kids [%d 0 R] >>" % (n + 1) for n in range(2, depth)}
    return pdf_of({1: CATALOGUE, **nodes, depth: b"<< /Type /Page >>"})


def tree_with_a_loop() -> bytes:
    return pdf_of({1: CATALOGUE, 2: b"<< /Type /Pages /Kids [2 0 R 3 0 R] /Count 1 >>", 3: PAGE})


def tree_of_shared_nodes(levels: int, width: int) -> bytes:
    """width ** levels pages for who follows every reference; without a single page."""
    nodes = {
        n: b"<< /Type /Pages /Kids [%b] >>" % (b"%d 0 R " % (n + 1) * width)
        for n in range(2, 2 + levels)
    }
    return pdf_of({1: CATALOGUE, **nodes, 2 + levels: b"<< /Type /Pages /Kids [] >>"})


def one_page_named(times: int) -> bytes:
    kids = b"3 0 R " * times
    return pdf_of({1: CATALOGUE, 2: b"<< /Type /Pages /Kids [%b] >>" % kids, 3: PAGE})


def objects_without_a_table(count: int) -> bytes:
    """Nothing but objects: each is looked for, and none is a page."""
    objects = b"".join(b"%d 0 obj<<>>endobj\n" % number for number in range(1, count))
    return b"%PDF-1.4\n" + objects + b"%%EOF"


def table_that_names_itself() -> bytes:
    table = b"xref\n0 1\n0000000000 65535 f \ntrailer\n<</Size 1/Root 1 0 R/Prev 9>>\n"
    return b"%PDF-1.4\n" + table + b"startxref\n9\n%%EOF"


def content_bomb(mib: int) -> bytes:
    """A page whose content, compressed twice, comes to as much."""
    packed = zlib.compress(zlib.compress(bytes(mib << 20), 9), 9)
    stream = b"<< /Filter [/FlateDecode /FlateDecode] /Length %d >>\nstream\n%b\nendstream"
    page = b"<< /Type /Page /Parent 2 0 R /Contents 4 0 R >>"
    tree = b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>"
    return pdf_of({1: CATALOGUE, 2: tree, 3: page, 4: stream % (len(packed), packed)})


def object_stream_bomb(mib: int) -> bytes:
    """A page in an object stream that comes to as much."""
    packed = zlib.compress(b"3 0 " + PAGE + b" " * (mib << 20), 1)
    head = b"<< /Type /ObjStm /N 1 /First 4 /Filter /FlateDecode /Length %d >>\n" % len(packed)
    objects = {
        1: CATALOGUE,
        2: b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        4: head + b"stream\n" + packed + b"\nendstream",
    }
    body, rows = b"%PDF-1.5\n", {0: b"\0" * 7, 3: b"\2" + (4).to_bytes(4, "big") + b"\0\0"}
    for number, content in objects.items():
        rows[number] = b"\1" + len(body).to_bytes(4, "big") + b"\0\0"
        body += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    table = b"".join(rows[number] for number in sorted(rows))
    said = b"<< /Type /XRef /Size 5 /W [1 4 2] /Root 1 0 R /Length %d >>" % len(table)
    stream = b"9 0 obj\n%b\nstream\n%b\nendstream\nendobj\n" % (said, table)
    return body + stream + b"startxref\n%d\n%%%%EOF" % len(body)


def table_bomb(mib: int) -> bytes:
    """A cross-reference stream that comes to as much."""
    packed = zlib.compress(bytes(mib << 20), 1)
    said = b"/Type /XRef /Size 99999999 /W [1 4 2] /Root 2 0 R /Filter /FlateDecode /Length %d"
    head = b"%PDF-1.5\n1 0 obj\n<< " + said % len(packed) + b" >>\nstream\n"
    return head + packed + b"\nendstream\nendobj\nstartxref\n9\n%%EOF"


def blank_image(file_format: str, side: int, mode: str = "RGB", **options: int | bool) -> bytes:
    """Of one colour: a few bytes or kilobytes for many pixels."""
    written = io.BytesIO()
    Image.new(mode, (side, side)).save(written, file_format, **options)
    return written.getvalue()


def blank_webp(side: int) -> bytes:
    """A lossless WebP of one colour: no pixel takes a bit, so only the header says its size."""
    small = bytearray(blank_image("WEBP", 16, lossless=True))
    small[21:25] = ((side - 1) | (side - 1) << 14).to_bytes(4, "little")
    return bytes(small)
