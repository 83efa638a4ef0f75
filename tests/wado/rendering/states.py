"""Presentation states as the tests need them."""

from typing import Any

from pydicom import Dataset
from pydicom.uid import ColorSoftcopyPresentationStateStorage, GrayscaleSoftcopyPresentationStateStorage, generate_uid

from tests.wado.rendering.made import made


def reference(image: Dataset, *frame_numbers: int) -> Dataset:
    """An item that names an image, and some of its frames."""
    item = made(ReferencedSOPClassUID=image.SOPClassUID, ReferencedSOPInstanceUID=image.SOPInstanceUID)
    if frame_numbers:
        item.ReferencedFrameNumber = list(frame_numbers)
    return item


def state_for(*images: Dataset, colour: bool = False, **attributes: Any) -> Dataset:
    """A state for images of one study, in a series of its own; without attributes it changes nothing."""
    grey = {} if colour else {"PresentationLUTShape": "IDENTITY"}
    series: dict[str, list[Dataset]] = {}
    for image in images:
        series.setdefault(image.SeriesInstanceUID, []).append(reference(image))
    return made(
        SOPClassUID=ColorSoftcopyPresentationStateStorage if colour else GrayscaleSoftcopyPresentationStateStorage,
        SOPInstanceUID=generate_uid(),
        StudyInstanceUID=images[0].StudyInstanceUID,
        SeriesInstanceUID=generate_uid(),
        PatientID=images[0].get("PatientID", "1"),
        Modality="PR",
        ReferencedSeriesSequence=[
            made(SeriesInstanceUID=uid, ReferencedImageSequence=items) for uid, items in series.items()
        ],
        **{**grey, **attributes},
    )


def graphic(kind: str, *data: float, units: str = "PIXEL", filled: bool = False, **attributes: Any) -> Dataset:
    """A graphic object; `data` is x, y, x, y, ..."""
    return made(
        GraphicAnnotationUnits=units,
        GraphicDimensions=2,
        NumberOfGraphicPoints=len(data) // 2,
        GraphicData=list(data),
        GraphicType=kind,
        GraphicFilled="Y" if filled else "N",
        **attributes,
    )


def words(text: str, box: tuple[float, ...] = (), anchor: tuple[float, ...] = (), **attributes: Any) -> Dataset:
    """A text object in PIXEL units."""
    item = made(UnformattedTextValue=text, **attributes)
    if box:
        item.BoundingBoxAnnotationUnits = attributes.get("BoundingBoxAnnotationUnits", "PIXEL")
        item.BoundingBoxTopLeftHandCorner, item.BoundingBoxBottomRightHandCorner = list(box[:2]), list(box[2:])
        item.BoundingBoxTextHorizontalJustification = attributes.get("BoundingBoxTextHorizontalJustification", "LEFT")
    if anchor:
        item.AnchorPointAnnotationUnits, item.AnchorPoint = "PIXEL", list(anchor)
        item.AnchorPointVisibility = attributes.get("AnchorPointVisibility", "Y")
    return item


def annotation(layer: str, *objects: Dataset, **attributes: Any) -> Dataset:
    """Graphics and texts on a layer."""
    item = made(GraphicLayer=layer, **attributes)
    graphics = [one for one in objects if "GraphicType" in one]
    texts = [one for one in objects if "UnformattedTextValue" in one]
    if graphics:
        item.GraphicObjectSequence = graphics
    if texts:
        item.TextObjectSequence = texts
    return item


def layer(name: str, order: int, **attributes: Any) -> Dataset:
    """A graphic layer."""
    return made(GraphicLayer=name, GraphicLayerOrder=order, **attributes)
