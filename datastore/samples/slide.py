"""A slide of tissue with glands, stained red and blue: three levels of tiles and an overview."""

from dataclasses import dataclass
from io import BytesIO
from math import cos, pi, sin
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage

from datastore.samples.objects import Series, Study, code, item, uid, write

STUDY = Study("slide", "SAMPLE7", "Haddad^Mona", "19751208", "F", "Biopsy of the colon", "20261106160000", "A20261106")
_SERIES = Series(STUDY, 1, "SM", "Made slide, red and blue")
_COLUMNS, _ROWS, _TILE = 3072, 2048, 256
_SHRINKS = (1, 2, 4)
_PIXEL = 0.0005  # mm, of the largest level
_GLASS, _STROMA, _CELL, _NUCLEUS = (242, 240, 244), (232, 172, 203), (214, 150, 198), (94, 58, 132)


def write_slide(folder: Path) -> None:
    """Write the levels and the overview (PS3.3 Section A.32.8)."""
    whole = _draw()
    for number, shrink in enumerate(_SHRINKS, 1):
        _write_level(folder, number, whole.reduce(shrink) if shrink > 1 else whole, _PIXEL * shrink, _TILE, "VOLUME")
    overview = whole.reduce(8)
    _write_level(folder, len(_SHRINKS) + 1, overview, _PIXEL * 8, None, "OVERVIEW")


@dataclass(frozen=True)
class _Gland:
    x: float
    y: float
    radius: float


def _draw() -> Image.Image:
    """The largest level."""
    chance = Random(7)  # noqa: S311 - chance, not a secret
    picture = Image.new("RGB", (_COLUMNS, _ROWS), _STROMA)
    pen = ImageDraw.Draw(picture)
    glands = _glands(chance)
    for _ in range(4500):  # fibres and cells between the glands
        x, y, turn = chance.uniform(0, _COLUMNS), chance.uniform(0, _ROWS), chance.uniform(0, pi)
        length, shade = chance.uniform(10, 60), chance.randint(-18, 14)
        way = (cos(turn) * length, sin(turn) * length * 0.4)
        colour = tuple(part + shade for part in _STROMA)
        pen.line((x - way[0], y - way[1], x + way[0], y + way[1]), fill=colour, width=chance.randint(2, 6))
    for _ in range(3500):
        _nucleus(pen, chance, chance.uniform(0, _COLUMNS), chance.uniform(0, _ROWS), 5.5, 0.45)
    for gland in glands:
        _draw_gland(pen, chance, gland)
    picture = picture.filter(ImageFilter.BoxBlur(1))
    return _on_glass(picture)


def _glands(chance: Random) -> list[_Gland]:
    """Glands side by side in rows that are not quite straight."""
    step = 178.0
    return [
        _Gland(
            column * step + (row % 2) * step / 2 + chance.uniform(-22, 22),
            row * step * 0.9 + chance.uniform(-22, 22),
            chance.uniform(58, 80),
        )
        for row in range(int(_ROWS / step / 0.9) + 1)
        for column in range(int(_COLUMNS / step) + 1)
        if chance.random() < 0.93
    ]


def _draw_gland(pen: ImageDraw.ImageDraw, chance: Random, gland: _Gland) -> None:
    """A ring of tall cells, whose nuclei lie outside, around an opening."""
    squeeze, turn = chance.uniform(0.78, 1.1), chance.uniform(0, pi)

    def ring(radius: float) -> list[tuple[float, float]]:
        points = []
        for number in range(40):
            angle = number * pi / 20
            far = radius * (1 + 0.07 * sin(3 * angle + turn) + chance.uniform(-0.02, 0.02))
            points.append((gland.x + far * cos(angle), gland.y + far * squeeze * sin(angle)))
        return points

    pen.polygon(ring(gland.radius), fill=tuple(part + chance.randint(-8, 8) for part in _CELL))
    for _ in range(26):  # goblet cells
        angle, far = chance.uniform(0, 2 * pi), gland.radius * chance.uniform(0.45, 0.72)
        x, y = gland.x + far * cos(angle), gland.y + far * squeeze * sin(angle)
        size = chance.uniform(6, 11)
        pen.ellipse((x - size, y - size, x + size, y + size), fill=(226, 204, 226))
    pen.polygon(ring(gland.radius * chance.uniform(0.16, 0.32)), fill=_GLASS)
    count = int(gland.radius * 0.62)
    for number in range(count):
        angle, far = number * 2 * pi / count, gland.radius * chance.uniform(0.82, 0.9)
        _nucleus(pen, chance, gland.x + far * cos(angle), gland.y + far * squeeze * sin(angle), 7.0, 0.8)


def _nucleus(pen: ImageDraw.ImageDraw, chance: Random, x: float, y: float, size: float, roundness: float) -> None:
    size *= chance.uniform(0.75, 1.2)
    along, across = size, size * roundness * chance.uniform(0.8, 1.2)
    if chance.random() < 0.5:
        along, across = across, along
    shade = chance.randint(-16, 22)
    pen.ellipse((x - along, y - across, x + along, y + across), fill=tuple(part + shade for part in _NUCLEUS))


def _on_glass(picture: Image.Image) -> Image.Image:
    """The piece of tissue: uneven stain, and glass around it."""
    chance = np.random.default_rng(7)
    stain = Image.fromarray(chance.integers(205, 256, (16, 24)).astype(np.uint8)).resize(picture.size)
    edge = Image.fromarray(chance.uniform(-0.16, 0.16, (18, 24)).astype(np.float32)).resize(picture.size)
    x = (np.arange(_COLUMNS, dtype=np.float32) / _COLUMNS - 0.5)[np.newaxis, :] / 0.43
    y = (np.arange(_ROWS, dtype=np.float32) / _ROWS - 0.5)[:, np.newaxis] / 0.41
    tissue = np.abs(x) ** 3 + np.abs(y) ** 3 + np.asarray(edge) < 0.9
    toned = Image.composite(picture, Image.new("RGB", picture.size, _STROMA), stain)
    mask = Image.fromarray((tissue * np.uint8(255)).astype(np.uint8)).filter(ImageFilter.BoxBlur(1))
    return Image.composite(toned, Image.new("RGB", picture.size, _GLASS), mask)


def _write_level(folder: Path, number: int, level: Image.Image, pixel: float, tile: int | None, kind: str) -> None:
    """Write a level; without the side of a `tile` it is one frame."""
    columns, rows = level.size
    wide, high = (tile, tile) if tile else level.size
    tiles = [level.crop((x, y, x + wide, y + high)) for y in range(0, rows, high) for x in range(0, columns, wide)]
    frames = [_jpeg(one) for one in tiles]
    native = columns * rows * 3
    made = _SERIES.instance(
        VLWholeSlideMicroscopyImageStorage,
        number,
        ImageType=["DERIVED" if number > 1 else "ORIGINAL", "PRIMARY", kind, "RESAMPLED" if number > 1 else "NONE"],
        AcquisitionDateTime=STUDY.date_time,
        ManufacturerModelName="Made slide",
        DeviceSerialNumber="1",
        SoftwareVersions="1",
        FrameOfReferenceUID=uid("slide/frame of reference"),
        PositionReferenceIndicator="SLIDE_CORNER",
        ContainerIdentifier="SAMPLE7-1",
        IssuerOfTheContainerIdentifierSequence=[],
        ContainerTypeCodeSequence=[code("433466003", "SCT", "Microscope slide")],
        AcquisitionContextSequence=[],
        SpecimenDescriptionSequence=[
            item(
                SpecimenIdentifier="SAMPLE7-1",
                SpecimenUID=uid("slide/specimen"),
                IssuerOfTheSpecimenIdentifierSequence=[],
                SpecimenPreparationSequence=[],
            )
        ],
        SamplesPerPixel=3,
        PhotometricInterpretation="YBR_FULL_422",
        PlanarConfiguration=0,
        Rows=high,
        Columns=wide,
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        PixelRepresentation=0,
        NumberOfFrames=len(frames),
        TotalPixelMatrixColumns=columns,
        TotalPixelMatrixRows=rows,
        TotalPixelMatrixFocalPlanes=1,
        NumberOfOpticalPaths=1,
        TotalPixelMatrixOriginSequence=[item(XOffsetInSlideCoordinateSystem=20, YOffsetInSlideCoordinateSystem=10)],
        ImageOrientationSlide=[0, -1, 0, -1, 0, 0],
        ImagedVolumeWidth=float(columns * pixel),
        ImagedVolumeHeight=float(rows * pixel),
        ImagedVolumeDepth=0.001,
        VolumetricProperties="VOLUME",
        SpecimenLabelInImage="NO",
        FocusMethod="AUTO",
        ExtendedDepthOfField="NO",
        BurnedInAnnotation="NO",
        LossyImageCompression="01",
        LossyImageCompressionMethod="ISO_10918_1",
        LossyImageCompressionRatio=f"{native / sum(map(len, frames)):.1f}",
        DimensionOrganizationType="TILED_FULL",
        DimensionOrganizationSequence=[item(DimensionOrganizationUID=uid("slide/dimensions"))],
        SharedFunctionalGroupsSequence=[
            item(
                PixelMeasuresSequence=[item(PixelSpacing=[f"{pixel:.6f}"] * 2, SliceThickness="0.001")],
                WholeSlideMicroscopyImageFrameTypeSequence=[
                    item(FrameType=["DERIVED" if number > 1 else "ORIGINAL", "PRIMARY", kind, "NONE"])
                ],
                OpticalPathIdentificationSequence=[item(OpticalPathIdentifier="1")],
            )
        ],
        OpticalPathSequence=[
            item(
                OpticalPathIdentifier="1",
                OpticalPathDescription="Brightfield",
                IlluminationTypeCodeSequence=[code("111744", "DCM", "Brightfield illumination")],
                IlluminationColorCodeSequence=[code("414298005", "SCT", "Full Spectrum")],
                ObjectiveLensPower=f"{20 * _PIXEL / pixel:.4g}",
            )
        ],
    )
    made.PixelData = encapsulate(frames)
    made["PixelData"].VR = "OB"
    write(made, folder, JPEGBaseline8Bit)


def _jpeg(tile: Image.Image) -> bytes:
    file = BytesIO()
    tile.save(file, "JPEG", quality=82, subsampling="4:2:2")
    content = file.getvalue()
    return content + b"\0" * (len(content) % 2)
