"""The drawn files: same bytes for the same study, and labels that do not run into each other."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import Synthetic

from resexp.analysis.study import load_study
from resexp.report.draw import draw, draw_panels, spread
from resexp.report.figures import Plate, figure6
from resexp.report.style import OTHERS, STYLES, VARIABLES, styles_of


@pytest.fixture
def plate(runs: Path) -> Plate:
    synthetic = Synthetic(runs, "cifar10", "short32")
    synthetic.add_all(["plain20", "plain56", "resnet20"], seeds=2)
    (group,) = load_study(runs).groups
    found = figure6(group)
    assert found is not None
    return found


def test_drawing_twice_gives_the_same_bytes(plate: Plate) -> None:
    png, svg = draw(plate)
    assert (png, svg) == draw(plate)
    assert png.startswith(b"\x89PNG")
    assert b"<svg" in svg
    assert b"Software" not in png
    assert b"dc:date" not in svg


def test_each_panel_by_itself(plate: Plate) -> None:
    assert len(draw_panels(plate, "page")) == 2


@given(st.lists(st.floats(0, 1), min_size=1, max_size=24))
def test_labels_never_overlap_and_keep_their_order(wanted: list[float]) -> None:
    gap = 0.04
    placed = spread(wanted, gap)
    order = sorted(range(len(wanted)), key=lambda index: (wanted[index], placed[index]))
    heights = [placed[index] for index in order]
    assert all(after - before > gap - 1e-9 for before, after in pairwise(heights))
    assert min(heights) > -1e-9
    assert max(heights) < 1 + 1e-9


def test_labels_with_room_stay_where_they_belong() -> None:
    assert spread([0.9, 0.1, 0.5], 0.05) == pytest.approx([0.9, 0.1, 0.5])
    assert spread([0.5, 0.5], 0.1) == pytest.approx([0.45, 0.55])


def luminance(color: str) -> float:
    channels = (int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("kind", ["plain", "resnet"])
def test_deeper_is_darker_and_wider_so_that_depth_is_read_without_colour(kind: str) -> None:
    styles = [style for name, style in STYLES.items() if name.startswith(kind)]
    lights = [luminance(style.color) for style in styles]
    darks = [luminance(style.dark) for style in styles]
    assert all(after < before / 1.25 for before, after in pairwise(lights))
    assert all(after > before * 1.15 for before, after in pairwise(darks))
    assert [style.width for style in styles] == sorted({style.width for style in styles})
    assert len({style.marker for style in styles}) == len(styles)


@pytest.mark.parametrize("style", [*STYLES.values(), *OTHERS])
def test_lines_stand_out_from_a_light_and_from_a_dark_page(style: object) -> None:
    assert hasattr(style, "color")
    light, dark = luminance(getattr(style, "color", "")), luminance(getattr(style, "dark", ""))
    assert 1.05 / (light + 0.05) >= 3
    assert (dark + 0.05) / (luminance("#151518") + 0.05) >= 3


def test_every_network_has_a_style_and_no_two_colours_are_one() -> None:
    assert set(styles_of(["plain20", "mine", "plain20+lr2"])) == {"plain20", "mine", "plain20+lr2"}
    assert len(VARIABLES) == len(set(VARIABLES.values())) == 4 + len(STYLES) + len(OTHERS)
