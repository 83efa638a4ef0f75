"""The sections of a made CT of chest and upper abdomen: organs are painted one over the other, noise comes last."""

from functools import lru_cache

import numpy as np

from datastore.samples import anatomy
from datastore.samples.noise import grain, smooth
from datastore.samples.section import AIR, COLUMNS, MOST_MOVED, ROWS, Field, Grid, Section, all_places, even_grid, soft

_RIB_SPACING, _RIB_FALL, _FIRST_RIB = 24.0, 96.0, 34.0  # mm: between ribs, from back to front, of the lowest one
_RIBS = 11
_VERTEBRA, _SPINE_Y = 27.0, 64.0


def section(z: float) -> Field:
    """The CT numbers of the section at height `z`, 0 to `anatomy.HEIGHT`."""
    made = Section(z, _grown(z))
    body, cavity = _trunk(made)
    lungs = _lungs(made, cavity)
    _abdomen(made, cavity)
    _chest(made, cavity, lungs)
    _ribs(made, body)
    _spine(made)
    _front_and_shoulders(made, body)
    noise = grain(z)
    whole: Field = _table() + noise * 0.4
    inner = (ROWS, COLUMNS)
    whole[inner] = np.where(body > 0, made.hu + noise[inner] * (0.4 + 0.6 * body), whole[inner])
    return whole


def _grown(z: float) -> Grid:
    """Places that are moved by a few millimetres, differently from part to part: nobody grows as an ellipse."""
    even, most = even_grid(), MOST_MOVED / 1.4
    rise = np.clip(even.reach((0.0, 74.0), (60.0, 60.0)) - 0.45, 0, 1)  # the spine stays as it is
    return Grid(even.x + rise * most * smooth(z, 31, 84, 34.0), even.y + rise * most * smooth(z, 32, 84, 34.0))


def _at(z: float, values: tuple[float, ...]) -> float:
    return float(np.interp(z, anatomy.HEIGHTS, values))


def _cavity(z: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """The middle and the half-widths of the cavity inside the ribs."""
    return (0.0, _at(z, anatomy.CAVITY_AT)), (_at(z, anatomy.CAVITY_X), _at(z, anatomy.CAVITY_Y))


def _trunk(made: Section) -> tuple[Field, Field]:
    """Skin, fat and muscles; the parts of pixels within the body and within the cavity."""
    z = made.z
    radii = (_at(z, anatomy.BODY_X), _at(z, anatomy.BODY_Y))
    middle = (0.0, anatomy.BACK - radii[1])
    body = made.grid.ellipse(middle, radii, 2.35)
    made.fill(body, 15.0)
    made.fill(made.grid.ellipse(middle, (radii[0] - 1.8, radii[1] - 1.8), 2.35), anatomy.FAT + 6 * _texture(made, 5))
    centre, cavity_radii = _cavity(z)
    wall = (cavity_radii[0] + 15, cavity_radii[1] + 13)
    muscles_of = made.grid.ellipse(middle, (radii[0] - 7, radii[1] - 7), 2.35)
    muscles = np.minimum(
        made.grid.ellipse(centre, wall, 2.2), made.grid.ellipse(middle, (radii[0] - 9, radii[1] - 7), 2.35)
    )
    made.fill(muscles, anatomy.MUSCLE + 7 * _texture(made, 1))
    for side in (-1, 1):
        for at, size in (((38.0, 96.0), (30.0, 13.0)), ((17.0, 98.0), (14.0, 11.0))):
            made.disc((side * at[0], at[1] - 4), (size[0] + 1.5, size[1] + 1.5), anatomy.FAT, within=body)
            made.disc((side * at[0], at[1] - 4), size, anatomy.MUSCLE + 9 * _texture(made, 2), within=body)
        if z > 175:  # muscles of the breast and the shoulder
            rise = min(1.0, (z - 175) / 40)
            front = middle[1] - radii[1] + 18
            made.disc(
                (side * 66.0, front), (60.0 * rise, 14.0 * rise), anatomy.MUSCLE + 6 * _texture(made, 3), muscles_of
            )
            made.disc(
                (side * 118.0, 52.0), (40.0 * rise, 38.0 * rise), anatomy.MUSCLE + 6 * _texture(made, 4), muscles_of
            )
        if z > 240:
            rise = min(1.0, (z - 240) / 35)
            made.disc(
                (side * 118.0, 4.0), (42.0 * rise, 50.0 * rise), anatomy.MUSCLE + 6 * _texture(made, 4), muscles_of
            )
    gap = made.grid.ellipse(centre, wall, 2.2) - made.grid.ellipse(centre, (wall[0] - 2.0, wall[1] - 2.0), 2.2)
    made.fill(np.clip(gap, 0, 1) * muscles * 0.8, anatomy.FAT)
    cavity = made.grid.ellipse(centre, cavity_radii, 2.15)
    made.fill(cavity, anatomy.FAT + 8 * _texture(made, 6))
    return body, cavity


def _domes(made: Section) -> Field:
    """The part of each pixel above the diaphragm, which is higher on the right side and in the middle of each lung."""
    x, y, z = made.grid.x, made.grid.y, made.z
    right = 142 - (np.square((x + 62) / 60) + np.square((y + 8) / 72)) * 46
    left = 128 - (np.square((x - 72) / 56) + np.square((y + 4) / 70)) * 46
    height = np.where(x < 6, right, left).astype(np.float32)
    return soft(z - np.maximum(height, 40), 2.5)


def _lungs(made: Section, cavity: Field) -> Field:
    """The part of each pixel that is lung."""
    z = made.z
    centre, radii = _cavity(z)
    inner = made.grid.ellipse(centre, (radii[0] - 3.5, radii[1] - 3.5), 2.15)
    width = float(np.interp(z, (100, 150, 200, 240, 270, 300), (38, 36, 33, 31, 27, 30)))
    middle = made.grid.ellipse((3.0, 4.0), (width, 84.0), 2.8)
    heart = made.grid.ellipse((24.0, -20.0), (59.0, 48.0)) if 100 < z < 198 else None
    if heart is not None:
        shrink = max(0.0, 1 - ((z - 150) / 48.5) ** 2) ** 0.5
        middle = np.maximum(middle, made.grid.ellipse((20.0, -20.0), (58 * shrink + 0.1, 47 * shrink + 0.1)))
    back = made.grid.ellipse((0.0, 72.0), (27.0, 26.0))
    return cavity * inner * (1 - middle) * (1 - back) * _domes(made)


def _abdomen(made: Section, cavity: Field) -> None:
    below = cavity * (1 - _domes(made))
    z = made.z
    if z < 165:
        for side in (-1, 1):
            made.disc((side * 36.0, 60.0), (17.0 * _fade(z, 70), 20.0 * _fade(z, 70)), anatomy.MUSCLE, within=cavity)
        made.tubes(anatomy.MESENTERY, within=below)
        made.ellipsoids(anatomy.BOWEL, within=below)
        made.ellipsoids(anatomy.ABDOMEN, within=below)
        _stomach(made, below)
        liver = Section(z, made.grid)
        liver.hu[:] = 0
        liver.ellipsoids((lobe._replace(hu=1.0) for lobe in anatomy.LIVER_LOBES), within=below)
        made.fill(liver.hu, anatomy.LIVER + 5 * _texture(made, 7))
        made.tubes(anatomy.LIVER_VESSELS, within=liver.hu)
        made.ellipsoids(anatomy.IN_LIVER, within=below)
        diaphragm = cavity * np.clip(1 - np.abs(_domes(made) - 0.5) * 2, 0, 1)
        made.fill(diaphragm * 0.6, anatomy.MUSCLE)


def _fade(z: float, top: float) -> float:
    """1 far below a height, nearly 0 at it and above."""
    return float(np.clip((top - z) / 50, 0.02, 1))


def _stomach(made: Section, below: Field) -> None:
    made.ellipsoids([anatomy.STOMACH], within=below)
    gas = below * soft(anatomy.STOMACH_LEVEL - made.grid.y)
    made.ellipsoids([anatomy.STOMACH._replace(hu=-985.0)], within=gas)


def _chest(made: Section, cavity: Field, lungs: Field) -> None:
    z, y = made.z, made.grid.y
    made.fill(lungs, anatomy.LUNG + 55 * np.clip(y / 85, -1, 1) + 16 * _texture(made, 8))
    made.tubes(anatomy.LUNG_VESSELS, within=lungs)
    made.ellipsoids([anatomy.NODULE], within=lungs)
    above = cavity * _domes(made) if z < 150 else cavity
    made.ellipsoids(anatomy.HEART, within=np.maximum(above, 0.0))
    made.tubes(anatomy.PULMONARY, within=cavity)
    if z > 92:
        made.disc((9.0, 40.0), (8.0, 6.0), 48.0, within=cavity)  # the gullet
        made.disc((9.0, 39.0), (2.2, 1.3), -350.0, within=cavity)
    made.tubes(anatomy.AORTA)
    made.tubes(anatomy.VEINS)
    for wall, _air in anatomy.AIRWAYS:
        made.tubes(wall, within=cavity)
    for _wall, air in anatomy.AIRWAYS:
        made.tubes(air, within=cavity)
    made.ellipsoids(anatomy.THYROID, within=cavity)


def _ribs(made: Section, body: Field) -> None:
    """Oblique rings around the cavity, which fall from the back to the front and end in cartilage."""
    centre, radii = _cavity(made.z)
    outwards = (made.grid.reach(centre, radii, 2.15) - 1) * min(radii) * 1.25 - 5.5
    rows, columns = np.nonzero(np.abs(outwards) < 7)
    out = outwards[rows, columns]
    angle = np.abs(np.arctan2(made.grid.x[rows, columns], made.grid.y[rows, columns]))
    height = (made.z - _FIRST_RIB + _RIB_FALL * (1 - np.cos(angle)) / 2) / _RIB_SPACING
    number = np.clip(np.round(height), 0, _RIBS)
    from_middle = (height - number) * _RIB_SPACING
    depth = (1 - np.sqrt((from_middle / 7.0) ** 2 + (out / 4.3) ** 2)) * 4.3
    ends = np.array(anatomy.RIB_ENDS)[np.minimum(number.astype(int), len(anatomy.RIB_ENDS) - 1)]
    bone = soft(depth) * (angle < ends) * body[rows, columns]
    gristle = np.clip((angle - 2.55) * 8, 0, 1)
    marrow = soft(depth - 1.5)
    hu = anatomy.CORTEX + marrow * (anatomy.MARROW - anatomy.CORTEX)
    hu += gristle * (anatomy.CARTILAGE - hu)
    below = made.hu[rows, columns]
    made.hu[rows, columns] = below + bone * (hu - below)


def _spine(made: Section) -> None:
    """Vertebrae and the discs between them, with arches, spines and the canal."""
    phase = (made.z % _VERTEBRA) / _VERTEBRA  # 0 in the middle of a disc
    bone = float(soft(np.float32((min(phase, 1 - phase) - 0.09) * _VERTEBRA), 1.5))
    waist = 1 - 0.09 * float(np.cos((phase - 0.5) * 2 * np.pi))
    wide, deep = 20.5 * waist, 16.0 * waist
    end = float(np.clip(1 - (min(phase, 1 - phase) - 0.09) * _VERTEBRA / 3, 0, 1))  # the plates
    shell = anatomy.DISC + bone * (620 - anatomy.DISC)
    inner = anatomy.DISC + bone * (anatomy.MARROW + 300 * end - anatomy.DISC)
    body = (0.0, _SPINE_Y)
    made.disc(body, (wide, deep), shell, power=2.5)
    made.disc(body, (wide - 1.7, deep - 1.7), inner + 24 * bone * _texture(made, 9, 3), power=2.5)
    arch = float(np.clip(np.sin(phase * np.pi) * 1.7 - 0.35, 0, 1))  # the arch is closed in the middle of a vertebra
    canal = (0.0, _SPINE_Y + deep + 7)
    if arch > 0.05:
        for side in (-1, 1):
            made.disc((side * 12.0, canal[1] - 4), (5.0, 9.0), 560.0 * arch + 60)
            made.disc((side * 26.0, canal[1] + 3), (17.0 * arch, 4.2), 480.0 * arch + 60)
            made.disc((side * 26.0, canal[1] + 3), (14.0 * arch, 2.2), anatomy.MARROW)
            made.disc((side * 7.0, canal[1] + 11), (10.0, 3.4), 620.0 * arch + 50)
        length = 8.0 * arch
        made.disc((0.0, canal[1] + 12), (3.0, 3 + length), 560.0 * arch + 50)
        made.disc((0.0, canal[1] + 12), (1.4, 1 + length), anatomy.MARROW + 40)
    made.disc(canal, (10.5, 9.0), -20.0)
    made.disc(canal, (9.0, 7.6), 18.0)
    made.disc(canal, (5.2, 4.2), 42.0)


def _front_and_shoulders(made: Section, body: Field) -> None:
    z = made.z
    if 128 < z < 264:
        centre, radii = _cavity(z)
        front = centre[1] - radii[1] - 4.5
        wide = float(np.interp(z, (128, 150, 215, 240, 264), (5, 14, 17, 27, 24)))
        made.disc((0.0, front), (wide, 5.6), 520.0, within=body, power=2.4)
        made.disc((0.0, front), (wide - 2, 3.8), anatomy.MARROW - 30, within=body, power=2.4)
    made.tubes(anatomy.COLLAR_BONES, within=body)
    made.ellipsoids(anatomy.UPPER_ARMS, within=body)
    made.tubes(anatomy.SHOULDER_BLADES, within=body)


@lru_cache(1)
def _table() -> Field:
    """A section without a body: air, and the curved table under the patient."""
    places = all_places()
    made = np.full(places.x.shape, AIR, np.float32)
    depth = places.y - (128 - np.square(places.x / 200) * 26)
    wide = np.abs(places.x) < 190
    made[(np.abs(depth) < 1.2) & wide] = -330
    made[(depth > 1.2) & (depth < 11) & wide] = -925
    made[(np.abs(depth - 12) < 1.2) & wide] = -380
    return made


def _texture(made: Section, seed: int, cell: int = 9) -> Field:
    """Smooth noise, as tissue has it."""
    return smooth(made.z, seed, cell, 9.0)
