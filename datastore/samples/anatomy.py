"""The organs of a chest and upper abdomen that never was: shapes and CT numbers, with contrast medium in the vessels.

The heights go from the kidneys, at 0, to the tips of the lungs, at 300.
"""

import math
from random import Random

from datastore.samples.section import Ellipsoid, Tube, Tubes
from datastore.samples.vessels import Point, tree

HEIGHT = 300.0
"""The height of the highest section, in millimetres."""

FAT, MUSCLE, FLUID, SOFT = -102.0, 58.0, 8.0, 42.0
LUNG, LIVER, SPLEEN, BLOOD, ENHANCED = -862.0, 112.0, 128.0, 165.0, 265.0
MARROW, CORTEX, CARTILAGE, DISC = 190.0, 760.0, 115.0, 85.0

# height: half-widths of the body and of the cavity inside the ribs, and where that lies from front to back
HEIGHTS = (0.0, 60.0, 120.0, 160.0, 200.0, 235.0, 260.0, 280.0, 300.0)
BODY_X = (152.0, 154.0, 160.0, 166.0, 170.0, 170.0, 166.0, 158.0, 146.0)
BODY_Y = (108.0, 109.0, 111.0, 113.0, 112.0, 105.0, 96.0, 87.0, 78.0)
CAVITY_X = (126.0, 128.0, 131.0, 133.0, 128.0, 113.0, 94.0, 72.0, 44.0)
CAVITY_Y = (74.0, 76.0, 82.0, 86.0, 83.0, 74.0, 62.0, 48.0, 30.0)
CAVITY_AT = (-4.0, -4.0, -3.0, -2.0, 0.0, 4.0, 9.0, 16.0, 24.0)

BACK = 117.0
"""The y of the back, which is straight."""

RIB_ENDS = (1.4, 1.6, 1.9, 2.15, 2.35, 2.5, 2.65, 2.8, 3.2)
"""How far each rib reaches around the body, from the lowest one: an angle of 0 at the back, pi at the breastbone."""

HEART = (
    Ellipsoid((20.0, -20.0, 150.0), (57.0, 46.0, 47.0), FAT),  # the fat around it
    Ellipsoid((20.0, -20.0, 150.0), (53.0, 42.0, 43.0), 105.0),  # its muscle
    Ellipsoid((41.0, -13.0, 146.0), (26.0, 20.0, 31.0), 225.0),  # the left ventricle
    Ellipsoid((8.0, -37.0, 148.0), (28.0, 16.0, 32.0), 200.0),  # the right one
    Ellipsoid((18.0, 12.0, 166.0), (25.0, 15.0, 19.0), 230.0),  # the left atrium
    Ellipsoid((-18.0, -18.0, 160.0), (17.0, 21.0, 25.0), 195.0),  # the right one
    Ellipsoid((45.0, -8.0, 134.0), (5.0, 4.0, 7.0), 112.0),  # papillary muscles
    Ellipsoid((36.0, -22.0, 138.0), (4.0, 4.0, 8.0), 112.0),
)

THYROID = (
    Ellipsoid((-24.0, 2.0, 284.0), (9.0, 12.0, 22.0), 130.0),
    Ellipsoid((24.0, 2.0, 284.0), (9.0, 12.0, 22.0), 130.0),
)

ABDOMEN = (
    Ellipsoid((97.0, 42.0, 88.0), (30.0, 32.0, 46.0), SPLEEN),
    Ellipsoid((55.0, -30.0, 92.0), (40.0, 34.0, 40.0), 72.0),  # the wall of the stomach
    Ellipsoid((-58.0, 44.0, 22.0), (29.0, 29.0, 53.0), 205.0),  # the kidneys: cortex, medulla, fat of the sinus
    Ellipsoid((62.0, 42.0, 30.0), (29.0, 29.0, 53.0), 205.0),
    Ellipsoid((-54.0, 42.0, 22.0), (21.0, 21.0, 43.0), 138.0),
    Ellipsoid((58.0, 40.0, 30.0), (21.0, 21.0, 43.0), 138.0),
    Ellipsoid((-44.0, 38.0, 22.0), (14.0, 11.0, 22.0), -70.0),
    Ellipsoid((48.0, 36.0, 30.0), (14.0, 11.0, 22.0), -70.0),
    Ellipsoid((8.0, -8.0, 58.0), (38.0, 10.0, 11.0), 98.0),  # the pancreas
    Ellipsoid((-24.0, -2.0, 50.0), (16.0, 15.0, 21.0), 96.0),
    Ellipsoid((44.0, 2.0, 66.0), (28.0, 8.0, 10.0), 98.0),
)

STOMACH = Ellipsoid((55.0, -30.0, 92.0), (34.0, 28.0, 34.0), 22.0)
STOMACH_LEVEL = -38.0
"""Air in the stomach lies in front of this y, above its fluid."""

LIVER_LOBES = (
    Ellipsoid((-62.0, 4.0, 88.0), (66.0, 74.0, 72.0), LIVER),
    Ellipsoid((-8.0, -38.0, 104.0), (58.0, 30.0, 34.0), LIVER),
    Ellipsoid((-84.0, 20.0, 36.0), (38.0, 44.0, 46.0), LIVER),
)
IN_LIVER = (
    Ellipsoid((-56.0, -46.0, 56.0), (17.0, 15.0, 27.0), 70.0),  # the gallbladder
    Ellipsoid((-56.0, -46.0, 56.0), (15.0, 13.0, 25.0), FLUID),
    Ellipsoid((-92.0, 14.0, 96.0), (11.0, 11.0, 11.0), FLUID),  # a cyst, which the report describes
    Ellipsoid((-34.0, 34.0, 118.0), (5.0, 5.0, 5.0), FLUID),
)
NODULE = Ellipsoid((-88.0, 22.0, 216.0), (6.0, 6.0, 6.0), 35.0)
"""A nodule in the right upper lobe, which the report describes."""

BOWEL = tuple(  # loops of it: wall, and what is in it
    Ellipsoid(centre, (size, size * 0.8, size * 1.2), hu)
    for x, y, z, size, content in (
        (-78.0, -52.0, 8.0, 21.0, -260.0),
        (-44.0, -56.0, 2.0, 18.0, 25.0),
        (-8.0, -52.0, 10.0, 19.0, 30.0),
        (28.0, -54.0, 4.0, 17.0, 40.0),
        (62.0, -48.0, 12.0, 20.0, -520.0),
        (92.0, -24.0, 20.0, 19.0, -330.0),
        (96.0, 12.0, 4.0, 17.0, -120.0),
        (30.0, -22.0, 10.0, 15.0, 35.0),
        (-14.0, -24.0, 2.0, 14.0, 30.0),
        (-96.0, -8.0, -6.0, 24.0, -210.0),
        (4.0, -56.0, 38.0, 18.0, -640.0),
        (-34.0, -58.0, 36.0, 17.0, -480.0),
        (40.0, -52.0, 44.0, 17.0, -300.0),
        (74.0, -10.0, 34.0, 15.0, 28.0),
        (24.0, -38.0, 22.0, 14.0, 34.0),
        (98.0, -6.0, 66.0, 18.0, -700.0),
        (100.0, 2.0, 36.0, 16.0, -90.0),
    )
    for centre, size, hu in (((x, y, z), size, 85.0), ((x, y, z), size - 3.5, content))
)

AORTA = Tubes(
    [
        Tube((10.0, -12.0, 172.0), (-6.0, -26.0, 205.0), 15.5, ENHANCED),
        Tube((-6.0, -26.0, 205.0), (-2.0, -18.0, 228.0), 15.0, ENHANCED),
        Tube((-2.0, -18.0, 228.0), (12.0, 2.0, 240.0), 14.0, ENHANCED),
        Tube((12.0, 2.0, 240.0), (24.0, 26.0, 234.0), 13.5, ENHANCED),
        Tube((24.0, 26.0, 234.0), (28.0, 40.0, 212.0), 13.0, ENHANCED),
        Tube((28.0, 40.0, 212.0), (24.0, 44.0, 150.0), 12.5, ENHANCED),
        Tube((24.0, 44.0, 150.0), (10.0, 36.0, 90.0), 11.5, ENHANCED),
        Tube((10.0, 36.0, 90.0), (8.0, 30.0, -20.0), 10.0, ENHANCED),
        Tube((-4.0, -20.0, 238.0), (-20.0, -8.0, 300.0), 6.0, ENHANCED),  # to the head and the arms
        Tube((8.0, -4.0, 242.0), (18.0, 2.0, 300.0), 4.2, ENHANCED),
        Tube((18.0, 12.0, 242.0), (32.0, 12.0, 300.0), 4.8, ENHANCED),
        Tube((10.0, 34.0, 76.0), (6.0, 2.0, 70.0), 4.0, ENHANCED),  # to the bowel
        Tube((6.0, 2.0, 70.0), (-34.0, -2.0, 80.0), 3.0, ENHANCED),
        Tube((9.0, 30.0, 48.0), (4.0, 6.0, 20.0), 3.6, ENHANCED),
        Tube((8.0, 32.0, 34.0), (-44.0, 38.0, 26.0), 3.2, ENHANCED),  # to the kidneys
        Tube((8.0, 32.0, 36.0), (48.0, 38.0, 32.0), 3.2, ENHANCED),
    ]
)

VEINS = Tubes(
    [
        Tube((-22.0, -14.0, 172.0), (-26.0, -14.0, 246.0), 9.5, 210.0),
        Tube((-26.0, -14.0, 246.0), (-34.0, -10.0, 300.0), 7.5, 195.0),
        Tube((-26.0, -16.0, 246.0), (30.0, -20.0, 262.0), 6.0, 195.0),
        Tube((-20.0, -8.0, 150.0), (-24.0, 14.0, 122.0), 12.0, 150.0),
        Tube((-24.0, 14.0, 122.0), (-20.0, 28.0, -20.0), 11.5, 150.0),
        Tube((-20.0, 26.0, 30.0), (-46.0, 36.0, 24.0), 4.5, 160.0),
        Tube((-20.0, 24.0, 32.0), (50.0, 34.0, 34.0), 4.5, 160.0),
        Tube((-18.0, 8.0, 48.0), (-34.0, 2.0, 92.0), 6.5, BLOOD),  # the portal vein, and where it comes from
        Tube((-18.0, 8.0, 48.0), (10.0, -12.0, 0.0), 5.0, BLOOD),
        Tube((-18.0, 8.0, 48.0), (84.0, 24.0, 78.0), 4.0, BLOOD),
    ]
)

PULMONARY = Tubes(
    [
        Tube((14.0, -34.0, 172.0), (20.0, -22.0, 204.0), 13.5, 235.0),
        Tube((20.0, -22.0, 204.0), (-38.0, 6.0, 200.0), 10.0, 235.0),
        Tube((20.0, -22.0, 204.0), (48.0, 14.0, 212.0), 10.0, 235.0),
        Tube((-6.0, 14.0, 166.0), (-44.0, 16.0, 172.0), 6.5, 220.0),
        Tube((40.0, 14.0, 168.0), (62.0, 20.0, 172.0), 6.5, 220.0),
    ]
)

AIRWAYS = tuple(
    (Tubes([Tube(start, end, radius + 1.6, 40.0)]), Tubes([Tube(start, end, radius, -990.0)]))
    for start, end, radius in (
        ((0.0, 14.0, 300.0), (-2.0, 18.0, 214.0), 8.5),
        ((-2.0, 18.0, 214.0), (-44.0, 20.0, 184.0), 6.5),
        ((-2.0, 18.0, 214.0), (48.0, 24.0, 190.0), 6.0),
        ((-34.0, 19.0, 191.0), (-64.0, 12.0, 222.0), 3.8),
        ((-44.0, 20.0, 184.0), (-72.0, 34.0, 142.0), 4.0),
        ((-44.0, 20.0, 184.0), (-78.0, -14.0, 166.0), 3.4),
        ((48.0, 24.0, 190.0), (72.0, 12.0, 222.0), 3.6),
        ((48.0, 24.0, 190.0), (74.0, 38.0, 146.0), 3.8),
        ((52.0, 22.0, 186.0), (84.0, -8.0, 172.0), 3.2),
    )
)


def _into_lung(side: int, start: Point, seed: int) -> list[Tube]:
    """The vessels of one lung: trunks from its root to points all over it."""
    chance = Random(seed)  # noqa: S311 - chance, not a secret
    tubes: list[Tube] = []
    for number in range(30):
        turn = chance.uniform(-2.2, 1.9)
        point = (
            side * (40 + 75 * math.cos(turn)),
            8 + 62 * math.sin(turn),
            98 + 6.2 * number + chance.uniform(-10, 10),
        )
        tubes += tree(start, [point], 3.0, 60.0, seed=seed + number, reach=5.8)
    return tubes


LUNG_VESSELS = Tubes([*_into_lung(-1, (-40.0, 12.0, 190.0), 40), *_into_lung(1, (50.0, 16.0, 194.0), 80)])

MESENTERY = Tubes(
    tree((2.0, 2.0, 30.0), [(x, -34.0, 6.0) for x in (-70.0, -40.0, -10.0, 30.0, 70.0)], 2.6, 120.0, seed=9, reach=7.0)
)

LIVER_VESSELS = Tubes(
    [
        *tree(
            (-34.0, 2.0, 92.0),
            [(-100.0, 10.0, 110.0), (-100.0, 20.0, 60.0), (-70.0, -30.0, 100.0), (0.0, -40.0, 106.0)],
            3.8,
            BLOOD,
            seed=5,
            reach=7.0,
        ),
        *tree(
            (-24.0, 14.0, 126.0),
            [(-100.0, 30.0, 90.0), (-70.0, -30.0, 80.0), (-20.0, -40.0, 90.0)],
            3.6,
            BLOOD - 10,
            seed=8,
            reach=8.0,
        ),
    ]
)

COLLAR_BONES = Tubes(
    [
        Tube((side * 18.0, -54.0, 262.0), (side * 70.0, -66.0, 282.0), radius, hu)
        for side in (1, -1)
        for radius, hu in ((7.0, CORTEX), (4.5, MARROW))
    ]
)

_BLADE = 14  # tubes side by side, from the inner edge of a shoulder blade to the joint
SHOULDER_BLADES = Tubes(
    [
        Tube((side * x0, y0, z0), (side * x1, y1, z1), radius, hu)
        for side in (1, -1)
        for radius, hu in ((3.2, 560.0), (1.4, MARROW))
        for at in range(_BLADE)
        for x0, y0, z0, x1, y1, z1 in (
            (88.0 + at * 2.6, 90.0 - at * 2.4, 184.0 + at * 4, 90.0 + at * 3.0, 86.0 - at * 2.6, 292.0),
        )
    ]
)

UPPER_ARMS = tuple(
    Ellipsoid((side * 128.0, 4.0, 300.0), (radius, radius, radius + 14), hu)
    for side in (1, -1)
    for radius, hu in ((24.0, CORTEX - 150), (21.5, MARROW - 20))
)
