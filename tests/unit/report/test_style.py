"""Colours that everybody can tell apart."""

from itertools import combinations

import pytest

from undo.report import style

SEEN = {  # linear RGB as it is seen without one kind of cone (Machado, Oliveira, Fernandes 2009, severity 1)
    "red": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "green": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "blue": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}
TO_XYZ = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
WHITE = (0.9505, 1.0, 1.089)
NOTICED = 8  # CIE76 units; 2.3 are just noticed


def times(matrix, vector):
    return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]


def linear(colour):
    values = (part / 255 for part in bytes.fromhex(colour[1:]))
    return [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]


def lab(rgb):
    parts = [v / w for v, w in zip(times(TO_XYZ, [min(max(v, 0), 1) for v in rgb]), WHITE, strict=True)]
    x, y, z = (v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in parts)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("without", SEEN)
def test_no_two_kinds_of_model_look_alike_to_colour_blind_readers(without):
    colours = [*style.COLOURS.values(), *style.STUDENT_COLOURS.values()]
    seen = [lab(times(SEEN[without], linear(colour))) for colour in colours]
    apart = [sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5 for one, other in combinations(seen, 2)]
    assert min(apart) > NOTICED
