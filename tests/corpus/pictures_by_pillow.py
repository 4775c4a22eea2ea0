"""Pictures by Pillow: every mode and way to write it, and what cameras and editors add to them."""

import io
import itertools
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image, ImageCms, ImageSequence
from PIL.PngImagePlugin import PngInfo

from tests.corpus.made import Made, saved, written

PROGRAM = "pillow"
_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "GIF": "image/gif", "WEBP": "image/webp"}
_ALIASES = {
    "image/png": ("image/x-png", "application/octet-stream", "", "image/apng"),
    "image/jpeg": ("image/jpg", "image/pjpeg", "IMAGE/JPEG; q=1", "image/jfif"),
    "image/gif": ("image/x-gif", "binary/octet-stream", "gif", "*/*"),
    "image/webp": ("image/x-webp", "application/unknown", ".webp", "image/*"),
}
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
_SIZES = ((1, 1), (1, 300), (300, 1), (3, 2), (7, 900), (600, 40), (900, 1300), (180, 3000))


def by_pillow(folder: Path) -> Iterator[Made]:
    """About two hundred."""
    for number, made in enumerate(_all()):
        yield made
        if number % 5 == 0:  # the same, called something else
            aliases = _ALIASES[made.declared]
            alias = aliases[number // 5 % len(aliases)]
            yield Made(PROGRAM, f"declared-{number}-{made.name}", made.data, alias)


def _all() -> Iterator[Made]:
    yield from _pngs()
    yield from _jpegs()
    yield from _webps()
    yield from _animations()
    yield from _transparent()
    yield from _sizes()
    yield from _beside()
    yield from _cut_off()


def _made(name: str, image: Image.Image, file_format: str, **options: Any) -> Made:  # noqa: ANN401
    data = saved(image, file_format, **options)
    return _as(name, data, file_format)


def _as(name: str, data: bytes, file_format: str) -> Made:
    ending = file_format.lower()
    return Made(PROGRAM, f"pillow-{name}.{ending}", data, _TYPES[file_format])


def _in(mode: str) -> Image.Image:
    if mode == "I;16":
        return written(mode="L").convert("I").point(lambda level: level * 257).convert("I;16")
    return written(mode=mode)


def _pngs() -> Iterator[Made]:
    for mode, level in itertools.product(_PNG_MODES, (0, 6)):
        yield _made(
            f"{mode.replace(';', '')}-level-{level}", _in(mode), "PNG", compress_level=level
        )
    for bits, colours in ((1, 2), (2, 4), (4, 16), (8, 200)):
        palette = written().quantize(colours)
        yield _made(f"palette-{bits}", palette, "PNG", bits=bits)
    for dpi in (72, 300, 1200):
        yield _made(f"dpi-{dpi}", written(), "PNG", dpi=(dpi, dpi))


def _jpegs() -> Iterator[Made]:
    for mode, progressive in itertools.product(("L", "RGB", "CMYK"), (False, True)):
        name = f"{mode}-{'progressive' if progressive else 'baseline'}"
        yield _made(name, written(mode=mode), "JPEG", progressive=progressive)
    for quality, subsampling in itertools.product((5, 60, 100), (0, 1, 2)):
        name = f"quality-{quality}-{subsampling}"
        yield _made(name, written(), "JPEG", quality=quality, subsampling=subsampling)
    yield _made("optimised", written(), "JPEG", optimize=True)
    yield _made("restarts", written(), "JPEG", restart_marker_blocks=2)
    yield _made("kept-rgb", written(), "JPEG", keep_rgb=True)
    yield _made("comment", written(), "JPEG", comment=b"\xff\xd9 not the end")
    pictures = [written((100, 90))]
    mpo = saved(written(), "MPO", save_all=True, append_images=pictures)
    yield _as("two-pictures", mpo, "JPEG")
    yield _as("film-after", saved(written(), "JPEG") + bytes(100_000), "JPEG")
    for orientation, file_format in itertools.product(range(9), ("JPEG", "PNG", "WEBP")):
        exif = Image.Exif()
        exif[0x0112] = orientation
        exif[0x010F] = "A camera"
        yield _made(f"orientation-{orientation}", written(), file_format, exif=exif)


def _webps() -> Iterator[Made]:
    for mode, lossless in itertools.product(("L", "RGB", "RGBA"), (False, True)):
        yield _made(f"{mode}-{lossless}", written(mode=mode), "WEBP", lossless=lossless)
    for method, quality in itertools.product((0, 4), (1, 50, 100)):
        yield _made(f"{method}-{quality}", written(), "WEBP", method=method, quality=quality)
    yield _made("alpha", written(mode="RGBA"), "WEBP", alpha_quality=10, exact=True)


def _animations() -> Iterator[Made]:
    for file_format, mode in itertools.product(("GIF", "PNG", "WEBP"), ("RGB", "RGBA", "L")):
        frames = [written(mode=mode), written(mode=mode).rotate(90), written(mode=mode)]
        options: dict[str, Any] = {"save_all": True, "append_images": frames[1:], "duration": 100}
        for disposal in (0, 1, 2):
            if file_format != "WEBP":
                options["disposal" if file_format == "GIF" else "blend"] = min(disposal, 1)
            yield _made(f"film-{mode}-{disposal}", frames[0], file_format, **options)
    for mode, interlace in itertools.product(("1", "L", "P", "RGB"), (0, 1)):
        yield _made(f"{mode}-{interlace}", written(mode=mode), "GIF", interlace=interlace)
    yield _made("comment", written(), "GIF", comment=b"made by hand")
    film = Image.open(io.BytesIO(saved(written(), "GIF", save_all=True, append_images=[written()])))
    first = next(ImageSequence.Iterator(film))
    yield _made("one-frame-again", first.copy(), "GIF", transparency=1)


def _transparent() -> Iterator[Made]:
    for ink, mode in itertools.product(((255, 255, 255), (0, 0, 0)), ("RGBA", "LA")):
        mask = written(mode="L").point(lambda level: 255 - level)
        page = Image.new("RGBA", mask.size, (*ink, 0))
        page.paste((*ink, 255), mask=mask)
        yield _made(f"clear-{mode}-{ink[0]}", page.convert(mode), "PNG")
        yield _made(f"clear-{mode}-{ink[0]}", page.convert(mode), "WEBP")
        yield _made(f"clear-{mode}-{ink[0]}", page, "GIF")
    yield _made("clear-1", written(mode="1"), "PNG", transparency=1)
    yield _made("clear-L", written(mode="L"), "PNG", transparency=255)
    yield _made("clear-RGB", written(), "PNG", transparency=(255, 255, 255))
    yield _made("clear-I16", _in("I;16"), "PNG", transparency=65_535)
    yield _made("clear-P", written(mode="P"), "PNG", transparency=3)
    yield _made("alphas-P", written(mode="P"), "PNG", transparency=bytes(range(0, 250, 5)))
    yield _made("clear", Image.new("RGBA", (50, 50)), "PNG")


def _sizes() -> Iterator[Made]:
    for size, file_format in itertools.product(_SIZES, _TYPES):
        yield _made(f"{size[0]}x{size[1]}", written(size), file_format)


def large_by_pillow(folder: Path) -> Iterator[Made]:
    """As they leave scanners, telephones and tills."""
    for file_format in ("PNG", "JPEG", "WEBP"):
        yield _made("roll", written((300, 9000)), file_format)
        yield _made("panorama", written((9000, 900)), file_format)
        yield _made("scan", written((2480, 3508)), file_format)


def _beside() -> Iterator[Made]:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for file_format in ("PNG", "JPEG", "WEBP"):
        yield _made("profile", written(), file_format, icc_profile=profile)
        yield _made("profile-broken", written(), file_format, icc_profile=b"none" * 20_000)
    texts = PngInfo()
    texts.add_text("Title", "Invoice")
    texts.add_text("Raw", "x" * (2 << 20), zip=True)
    texts.add_itxt("Titre", "Facture é" * 200_000, lang="fr", zip=True)
    yield _made("texts", written(), "PNG", pnginfo=texts)
    wrong = struct.pack(">I", 3) + b"tEXta\0b" + b"\0\0\0\0"
    for chunk, where in itertools.product((wrong, _chunk(b"prVt", b"x"), _chunk(b"eXIf", b"MM")), (b"IDAT", b"IEND")):  # noqa: E501  # fmt: skip
        data = saved(written(), "PNG")
        at = data.index(where) - 4
        yield _as(f"chunk-{chunk[4:8].decode()}-{where.decode()}", data[:at] + chunk + data[at:], "PNG")  # noqa: E501  # fmt: skip
    for marker, body in ((0xE1, b"Exif\0\0II"), (0xE2, b"ICC_PROFILE\0"), (0xED, b"8BIM"), (0xEF, b"")):  # noqa: E501  # fmt: skip
        data, segment = saved(written(), "JPEG"), struct.pack(">BBH", 255, marker, len(body) + 2)
        yield _as(f"segment-{marker:x}", data[:2] + segment + body + data[2:], "JPEG")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _cut_off() -> Iterator[Made]:
    """Without their last bytes, as viewers still show them."""
    page = written((300, 400))
    for bytes_less in (1, 2, 4, 8, 12):
        for file_format in ("PNG", "JPEG", "GIF", "WEBP"):
            data = saved(page, file_format)[:-bytes_less]
            yield _as(f"less-{bytes_less}", data, file_format)
        data = saved(page, "JPEG", progressive=True)[:-bytes_less]
        yield _as(f"less-{bytes_less}-progressive", data, "JPEG")
        yield _as(f"less-{bytes_less}-bits", saved(page.convert("1"), "PNG")[:-bytes_less], "PNG")
