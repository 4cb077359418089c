"""The drawn files: same bytes for the same study, and labels that do not run into each other."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import Synthetic

from resexp.analysis.study import load_study
from resexp.report.draw import draw, draw_panels, spread
from resexp.report.figures import figure6
from resexp.report.style import OTHERS, STYLES, styles_of


def test_drawing_twice_gives_the_same_bytes_without_a_date(runs: Path) -> None:
    Synthetic(runs, "cifar10", "short32").add_all(["plain20", "plain56", "resnet20"], seeds=2)
    (group,) = load_study(runs).groups
    plate = figure6(group)
    assert plate is not None
    drawn = draw(plate)
    assert drawn == draw(plate)
    png, svg, pdf = drawn.values()
    assert png.startswith(b"\x89PNG")
    assert b"<svg" in svg
    assert b"Software" not in png
    assert b"dc:date" not in svg
    assert pdf.startswith(b"%PDF")
    assert b"CreationDate" not in pdf
    panels = draw_panels(plate)
    assert panels == draw_panels(plate)
    assert len(panels) == 2


@given(st.lists(st.floats(0, 1), min_size=1, max_size=24))
def test_labels_never_overlap_and_keep_their_order(wanted: list[float]) -> None:
    gap = 0.04
    placed = spread(wanted, gap)
    order = sorted(range(len(wanted)), key=lambda index: (wanted[index], placed[index]))
    heights = [placed[index] for index in order]
    assert all(after - before > gap - 1e-9 for before, after in pairwise(heights))
    assert min(heights) > -1e-9
    assert max(heights) < 1 + 1e-9


def test_labels_that_do_not_collide_stay_where_they_belong() -> None:
    assert spread([0.9, 0.1, 0.5], 0.05) == pytest.approx([0.9, 0.1, 0.5])
    assert spread([0.5, 0.5], 0.1) == pytest.approx([0.5, 0.6])
    assert spread([0.97, 0.98], 0.1) == pytest.approx([0.9, 1.0])


def luminance(color: str) -> float:
    channels = (int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("kind", ["plain", "resnet"])
def test_deeper_is_darker_and_wider_so_that_depth_is_read_without_colour(kind: str) -> None:
    styles = [style for name, style in STYLES.items() if name.startswith(kind)]
    lights = [luminance(style.color) for style in styles]
    assert all(after < before / 1.25 for before, after in pairwise(lights))
    assert [style.width for style in styles] == sorted({style.width for style in styles})
    assert len({style.marker for style in styles}) == len(styles)


def test_lines_stand_out_from_the_page_and_every_network_has_its_own() -> None:
    styles = [*STYLES.values(), *OTHERS]
    assert all(1.05 / (luminance(style.color) + 0.05) >= 3 for style in styles)
    assert len({style.color for style in styles}) == len(styles)
    chosen = styles_of(["plain20", "mine", "plain20+lr2"])
    assert len({chosen[name].color for name in ("plain20", "mine", "plain20+lr2")}) == 3
