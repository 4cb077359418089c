"""Figures, numbers and claims of diagnoses, from measurements of which the answer is known."""

from dataclasses import replace
from pathlib import Path

import pytest
from synthetic import Synthetic

from resexp.analysis.claims import (
    EXPLODE,
    FALL_BACK,
    HEALTHY_INITIAL,
    HEALTHY_TRAINED,
    NOT_REPRODUCED,
    NOT_TESTED,
    PRODUCT,
    REPRODUCED,
    SHORTCUTS_HELP,
    SKIPS,
    SMALLER,
    SMALLER_STILL,
    VANISH,
    VANISH_HE,
    VANISH_SMALL,
    Claim,
)
from resexp.analysis.study import Group, load_study
from resexp.analysis.verdict import UNDECIDED
from resexp.diagnose import table
from resexp.diagnose.table import (
    BUILT_FROM,
    CHECKPOINT,
    INITIALISATION,
    PLAIN,
    RESIDUAL,
    SNAPSHOT,
    Measured,
    Reading,
    Subject,
)
from resexp.formatting import number
from resexp.report.answers import answers
from resexp.report.report import Report, write_report
from resexp.report.spec import Plate
from resexp.report.why.findings import FIND, findings
from resexp.report.why.profiles import Finding


@pytest.fixture
def group(runs: Path) -> Group:
    study = Synthetic(runs, "cifar10", "short32")
    study.add_all(["plain20", "plain56", "resnet20", "resnet56"], seeds=2)
    study.add("plain110", 0, 0.89, 0.9, noise=0)
    (group,) = load_study(runs).groups
    return group


def subject(group: Group, name: str, seed: int = 0, source: str = CHECKPOINT, norm: str = "batch") -> Subject:
    network = group.network(name)
    run = network.runs[seed] if network and source == CHECKPOINT else None
    family = RESIDUAL if name.startswith("resnet") else PLAIN
    depth = int(name.removeprefix("plain").removeprefix("resnet"))
    digest = run.record.history_sha256 if run else ""
    at = 2000 if run else 0
    return Subject(name, family, depth, norm, seed, source, at, "the first 8 images", "d", digest)


def readings(quantity: str, values: list[float], first: int = 1) -> list[Reading]:
    return [Reading(quantity, at, f"block{at}", value) for at, value in enumerate(values, start=first)]


def falling(factor: float, blocks: int = 9) -> list[Reading]:
    """A gradient that each block multiplies by `factor` on its way back."""
    return readings("output_gradient", [0.3 * factor ** (blocks - at) for at in range(1, blocks + 1)])


def find(diagnosis: str, group: Group, measured: Measured) -> Finding:
    finding = FIND[diagnosis](group, measured)
    assert finding is not None
    return finding


def plate(finding: Finding) -> Plate:
    assert finding.plate is not None
    return finding.plate


def row(finding: Finding, *first: str) -> list[str]:
    """The cells of the one row of all its tables that begins like this, behind its beginning."""
    rows = [row for table in finding.tables for row in table.rows]
    (found,) = [row[len(first) :] for row in rows if tuple(row[: len(first)]) == first]
    return found


def test_gradients_have_a_row_for_each_network_and_kind_of_weights(group: Group) -> None:
    measured = {
        subject(group, "plain20", 0): falling(2 ** (2 / 8)),
        subject(group, "plain20", 1): falling(2 ** (4 / 8)),
        subject(group, "plain20", 0, INITIALISATION): falling(1.0),
        subject(group, "plain56", 0, INITIALISATION): falling(10 ** (4 / 8)),
        subject(group, "plain56", 1, INITIALISATION): falling(10 ** (0.5 / 8)),
        subject(group, "resnet20", 0, INITIALISATION): falling(10 ** (-2 / 8)),
        subject(group, "plain20", 0, INITIALISATION, "none"): falling(1.0),
    }
    finding = find("gradients", group, measured)
    assert row(finding, "plain-20", "batch", "after 2,000 iterations")[:3] == [
        "2",
        "1.3 (0.431 to 3.9)",
        "8 (0.0012 to 53,000)",
    ]
    assert finding.summary is not None
    assert finding.summary.heading[1:] == [
        "at initialisation",
        "at initialisation without norm",
        "after 2,000 iterations",
    ]
    assert finding.summary.rows[0] == ["plain-20", "1, stable", "1, stable", "8, exploding, stable"]
    assert finding.summary.rows[1][2:] == ["-", "-"]
    assert row(finding, "plain-56", "batch", "He")[0] == "2"
    assert row(finding, "plain-56", "batch", "He")[-1] == "exploding, stable"
    assert row(finding, "ResNet-20", "batch", "He")[-1] == "vanishing"
    assert row(finding, "plain-20", "none", "He")[-1] == "stable"
    assert (
        "gradients vanish at initialisation in ResNet-20; they explode at initialisation in plain-56"
        in finding.sentence
    )
    assert [panel.title for panel in plate(finding).panels] == [
        "Plain, at initialisation",
        "Residual, at initialisation",
        "Plain, at initialisation without norm",
        "Plain, after 2,000 iterations",
    ]
    assert "at initialisation, 1 to 2 seeds (0, 1); on the first 8 images" in plate(finding).caption
    assert "curves end at plain-20 8." in plate(finding).panels[3].alt


def test_gradients_are_followed_through_training_from_the_same_seeds_initial_weights(group: Group) -> None:
    measured = {
        subject(group, "plain20", 0, INITIALISATION): falling(100 ** (1 / 8)),
        subject(group, "plain20", 4, INITIALISATION): falling(7.0),
        subject(group, "plain20", 0): falling(2 ** (1 / 8)),
    }
    for at, factor in ((500, 40.0), (1000, 0.05)):
        measured[replace(subject(group, "plain20"), source=SNAPSHOT, iteration=at)] = falling(factor ** (1 / 8))
    finding = find("gradients", group, measured)
    assert finding.summary is not None
    assert finding.summary.rows[0][1:] == ["24,000, exploding", "0.05 to 40, exploding, vanishing", "2, stable"]
    assert not [row for row in finding.table.rows if "during" in row[2]]
    panel = plate(finding).panels[-1]
    assert panel.title == "Plain, during training (first block)"
    assert [at for at, _ in panel.curves[0].mean] == [0, 500, 1000, 2000]
    assert [value for _, value in panel.curves[0].mean] == pytest.approx([100, 40, 0.05, 2])
    assert panel.x.high == 2000
    assert panel.lines == [1000, 1500]


def test_no_mean_bridges_iterations_at_which_only_some_seeds_kept_their_weights(group: Group) -> None:
    measured = {
        subject(group, "plain20", seed, source): falling(2 ** (1 / 8))
        for seed in (0, 1)
        for source in (INITIALISATION, CHECKPOINT)
    }
    for seed, at in ((0, 500), (0, 1000), (1, 1000)):
        measured[replace(subject(group, "plain20", seed), source=SNAPSHOT, iteration=at)] = falling(4 ** (1 / 8))
    finding = find("gradients", group, measured)
    (curve,) = plate(finding).panels[-1].curves
    assert [[at for at, _ in seed] for seed in curve.seeds.values()] == [[0, 500, 1000, 2000], [0, 1000, 2000]]
    assert [at for at, _ in curve.mean] == [0, 500, 1000, 2000]
    assert [value for _, value in curve.mean] == pytest.approx([2, float("nan"), 4, 2], nan_ok=True)
    gap = "A mean has a gap where not every seed was measured."
    assert gap in plate(finding).caption
    whole = {one: readings for one, readings in measured.items() if one.iteration != 500}
    assert gap not in plate(find("gradients", group, whole)).caption


def test_gradients_that_grow_and_shrink_again_are_not_called_stable(group: Group) -> None:
    finding = find("gradients", group, {subject(group, "plain20"): readings("output_gradient", [0.2, 4.0, 0.5, 0.1])})
    assert row(finding, "plain-20", "batch")[-1] == "stable at the ends only"
    assert outcomes(finding)[HEALTHY_TRAINED] == UNDECIDED


def bare(group: Group, name: str, factor: float, scale: float = 1.0, seeds: int = 2) -> Measured:
    """A network without norm at its initial weights; each block multiplies the gradient by `factor`."""
    one = replace(subject(group, name, 0, INITIALISATION, "none"), scale=scale)
    return {
        replace(one, seed=seed): [*falling(factor * (1 + seed / 100)), *readings("weight_gradient", [0.3, 2.0, 0.6])]
        for seed in range(seeds)
    }


def test_initial_gradients_have_a_row_for_each_norm_and_scale_with_intervals_over_seeds(group: Group) -> None:
    measured = bare(group, "plain56", 1.0) | bare(group, "plain56", 0.25, 0.5) | bare(group, "resnet56", 1.5, 1, 1)
    measured |= {subject(group, "plain56", seed, INITIALISATION): falling(1.4) for seed in (0, 1)}
    finding = find("gradients", group, measured)
    assert [row[:3] for row in finding.table.rows] == [
        ["plain-56", "batch", "He"],
        ["plain-56", "none", "He"],
        ["ResNet-56", "none", "He"],
        ["plain-56", "none", "He times 0.5"],
    ]
    seeds, block, blocks, layers, first, word = row(finding, "plain-56", "none", "He times 0.5")
    assert (seeds, word) == ("2", "vanishing")
    assert block == "0.251 (0.236 to 0.268)"
    assert blocks.startswith("1.6·10⁻⁵ (9.6·10⁻⁶ to ")
    assert (layers, first) == ("0.5 (0.5 to 0.5)", "0.3 (0.3 to 0.3)")
    assert row(finding, "ResNet-56", "none", "He")[:3] == ["1", "1.5", "26"]
    assert "in fp32, without norm in float64" in plate(finding).caption
    assert [panel.title for panel in plate(finding).panels] == [
        "Plain, at initialisation",
        "Plain, at initialisation without norm",
        "Residual, at initialisation without norm",
        "Plain, without norm, weights times 0.5",
    ]


@pytest.mark.parametrize(
    ("bad", "word"), [(float("nan"), "not finite"), (float("inf"), "not finite"), (0.0, "vanishing")]
)
def test_gradients_that_are_no_number_are_called_what_they_are_and_the_rest_is_drawn(
    group: Group, bad: float, word: str
) -> None:
    measured = {
        subject(group, "plain20"): [*readings("output_gradient", [bad]), *falling(2.0)[1:]],
        subject(group, "plain56"): falling(2.0),
    }
    finding = find("gradients", group, measured)
    assert row(finding, "plain-20", "batch")[-1] == word
    assert row(finding, "plain-56", "batch")[-1] == "exploding"
    initial = {subject(group, "plain20", seed, INITIALISATION): values for seed, values in enumerate(measured.values())}
    block, blocks, *_ = row(find("gradients", group, initial), "plain-20", "batch", "He", "2")
    assert block == blocks == ("not finite" if bad else "0")
    assert [len(curve.mean) for curve in plate(finding).panels[0].curves] == [8, 9]


def test_responses_are_compared_within_a_seed_at_one_depth_and_between_depths(group: Group) -> None:
    measured = {
        subject(group, name, seed): readings("response", [0.5 * size + 0.1 * seed, 1.5 * size + 0.1 * seed])
        for name, size in (("plain20", 1.0), ("plain56", 1.02), ("resnet20", 0.5), ("resnet56", 0.3))
        for seed in (0, 1)
    }
    finding = find("responses", group, measured)
    assert row(finding, "plain-20", "0") == ["1", "-", "-", "-"]
    assert row(finding, "plain-56", "1") == ["1.12", "-", "-", "1.02"]
    assert row(finding, "ResNet-56", "0") == ["0.3", "0.29", "-", "0.60"]
    assert "plain networks of the same depth in 4 of 4" in finding.sentence
    assert "the next shallower residual network in 2 of 2" in finding.sentence
    in_order, by_size = plate(finding).panels
    assert [value for _, value in in_order.curves[0].mean] == pytest.approx([0.55, 1.55])
    assert [value for _, value in by_size.curves[0].mean] == pytest.approx([1.55, 0.55])
    assert "Left out: plain-110 seed 0 (did not train, running training error 89.0%)." in plate(finding).caption


def test_dead_channels_are_counted_by_network_where_they_were_measured(group: Group) -> None:
    def layers(response: float, dead: list[float]) -> list[Reading]:
        names = [f"stages.{stage}.0.conv1" for stage in range(3)]
        return [
            *(Reading("response", at, name, response) for at, name in enumerate(names)),
            *(Reading("dead", at, name, share) for at, (name, share) in enumerate(zip(names, dead, strict=False))),
        ]

    measured = {
        subject(group, name, seed): layers(response, dead)
        for name, seed, response, dead in (
            ("plain20", 0, 1.0, [0.0, 0.0, 0.0]),
            ("plain56", 0, 1.0, [0.3, 0.0, 0.0]),
            ("plain56", 1, 1.0, [0.0, 0.6, 0.0]),
            ("resnet20", 0, 0.5, []),
            ("resnet56", 0, 0.5, [0.0]),
        )
    }
    finding = find("responses", group, measured)
    assert [row(finding, "plain-20", "0")[-1], row(finding, "plain-56", "1")[-1]] == ["none", "20%"]
    assert row(finding, "ResNet-20", "0") == ["0.5", "0.50", "0.50, 0.50, 0.50", "-", "-"]
    assert row(finding, "ResNet-56", "0")[-1] == "-", "the stem alone says little"
    assert finding.sentence.endswith(
        "Dead, channels that ReLU leaves at zero at each place of each image, mean over the layers that go straight "
        "into it: plain-20 none, plain-56 10% to 20% (of one layer up to 60%)."
    )


def test_responses_are_compared_stage_by_stage(group: Group) -> None:
    def layers(scale: float) -> list[Reading]:
        named = [Reading("response", 1, "stem", 9.0)]
        for stage, factor in enumerate((scale, 1.0, 1.0)):
            named += [Reading("response", 2 + stage, f"stages.{stage}.0.conv1", factor)]
        return named

    measured = {subject(group, name): layers(scale) for name, scale in (("plain56", 1.0), ("resnet56", 0.4))}
    assert row(find("responses", group, measured), "ResNet-56", "0")[2] == "0.40, 1.00, 1.00"


def lesion(whole: float, without: list[float], several: list[float], ratios: list[float]) -> list[Reading]:
    return [
        *readings("error", [whole], 0),
        *readings("error_without_one", without),
        *readings("error_without_several", several),
        *readings("residual_ratio", ratios),
    ]


def test_lesions_have_a_row_and_a_line_for_each_seed_and_no_mean(group: Group) -> None:
    measured = {
        subject(group, "plain20"): lesion(0.1, [0.9, 0.7, 0.2], [0.7, 0.8, 0.9], [1.5, 2.0, 1.0]),
        subject(group, "resnet20", 0): lesion(0.08, [0.08, 0.11, 0.07], [0.11, 0.4, 0.9], [0.5, 0.0, 0.09]),
        subject(group, "resnet20", 1): lesion(0.08, [0.06, 0.09, 0.28], [0.11, 0.4, 0.9], [0.5, 0.05, 0.25]),
    }
    measured[subject(group, "resnet20", 0)] += readings("error_without_near", [0.12], 2)
    finding = find("lesions", group, measured)
    assert finding.table.rows == [
        ["plain-20", "0", "10.0", "+60.0", "+80.0", "1 of 3", "1", "0 of 3", "-"],
        ["ResNet-20", "0", "8.0", "+0.0", "+3.0", "2 of 3", "0", "2 of 3", "+4.0"],
        ["ResNet-20", "1", "8.0", "+1.0", "+20.0", "3 of 3", "0.05", "1 of 3", "-"],
    ]
    assert "+60.0 points in plain networks and +0.0 to +1.0 points in residual" in finding.sentence
    one, several, nearness = plate(finding).panels
    assert [[value for _, value in line] for line in several.curves[1].seeds.values()] == [[8, 11, 40, 90]] * 2
    assert not any(curve.mean for panel in plate(finding).panels for curve in panel.curves)
    assert [curve.dashed for curve in one.curves] == [True, False]
    assert nearness.y.low == 0
    assert " Not measured: other seeds of plain-20; all of plain-56 and ResNet-56." in plate(finding).caption


@pytest.fixture
def report(group: Group, runs: Path, tmp_path: Path) -> Report:
    """Lesions are not measured; one network was trained again since its responses were."""
    changed = replace(subject(group, "resnet20"), history_sha256="before")
    responses = {subject(group, "plain20"): readings("response", [1, 2]), changed: readings("response", [1, 2])}
    table.write(table.table_file(runs, group, "responses"), responses)
    table.write(table.table_file(runs, group, "gradients"), {subject(group, "plain20"): falling(2.0)})
    return write_report(runs, tmp_path / "out")


def test_the_report_shows_what_was_measured_and_how_to_measure_the_rest(report: Report) -> None:
    page = report.files[0].read_text()
    assert "Standard deviation of responses, mean over layers" in page
    assert (
        '<th scope="row" class="text">plain-20</th><td data-label="seed">0</td><td data-label="mean response">1.5</td>'
        in page
    )
    assert "Not measured yet: <code>resexp diagnose lesions group=cifar10/short32" in page
    assert "Not measured yet: <code>resexp diagnose responses" not in page
    left_out = "responses of cifar10/short32: left out until resexp diagnose responses is run"
    again = "ResNet-20 seed 0 after 2,000 iterations: the run was trained again since it was measured"
    assert f"{left_out}: {again}" in page


def test_csv_stands_beside_its_figure_and_holds_what_is_drawn(report: Report) -> None:
    names = {path.name for path in report.files}
    assert names >= {f"{what}.{kind}" for what in ("gradients", "responses") for kind in ("csv", "png", "svg")}
    (csv,) = [path for path in report.files if path.name == "responses.csv"]
    assert {subject.network for subject in table.read(csv)} == {"plain20"}


def test_a_damaged_table_is_named_and_the_rest_is_drawn(group: Group, runs: Path) -> None:
    path = table.table_file(runs, group, "gradients")
    path.parent.mkdir(parents=True)
    path.write_text("network\n")
    found, files, (problem,) = findings(group, runs)
    assert not found
    assert not files
    assert "gradients.csv is damaged" in problem


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.123, "0.12"), (9.96, "10"), (16.4, "16"), (7512, "7,500"), (8.37e6, "8.4·10⁶"), (1e-9, "10⁻⁹")],
)
def test_numbers_have_two_digits(value: float, text: str) -> None:
    assert number(value) == text


def of(finding: Finding, *texts: str) -> list[str]:
    """What becomes of some claims."""
    return [outcomes(finding)[text] for text in texts]


def outcomes(finding: Finding) -> dict[str, str]:
    return {claim.text: claim.outcome for claim in finding.claims}


def test_the_deepest_plain_network_tells_whether_gradients_vanish(group: Group) -> None:
    measured: Measured = {}
    for seed in (0, 1):
        measured[subject(group, "plain20", seed, INITIALISATION)] = falling(0.1)
        measured[subject(group, "plain110", seed, INITIALISATION)] = falling(10.0)
        measured[subject(group, "plain110", seed, INITIALISATION, "none")] = falling(0.1)
    finding = find("gradients", group, measured)
    about = (VANISH, HEALTHY_INITIAL, HEALTHY_TRAINED)
    assert of(finding, *about) == [NOT_REPRODUCED, NOT_REPRODUCED, NOT_TESTED]
    assert (
        finding.claims[0].ours
        == "plain-110 at initialisation: times 10⁸ (95% interval 10⁸ to 10⁸), exploding (2 seeds)"
    )
    trained = {subject(group, "plain56", seed): falling(1.0) for seed in (0, 1)}
    assert of(find("gradients", group, measured | trained), *about) == [NOT_REPRODUCED, NOT_REPRODUCED, REPRODUCED]
    trained = {subject(group, "plain56", seed): falling(0.1) for seed in (0, 1)}
    assert of(find("gradients", group, trained), *about) == [REPRODUCED, NOT_TESTED, NOT_REPRODUCED]


def test_healthy_norms_are_looked_for_in_the_deepest_network_that_trained(group: Group) -> None:
    measured: Measured = {subject(group, "plain56", seed): falling(1.0) for seed in (0, 1)}
    finding = find("gradients", group, measured | {subject(group, "plain110"): falling(0.1)})
    assert of(finding, HEALTHY_TRAINED) == [REPRODUCED]


@pytest.mark.parametrize(
    ("he", "small", "residual", "expected"),
    [
        (0.95, 0.25, 1.5, [NOT_REPRODUCED, REPRODUCED, REPRODUCED]),
        (0.95, 0.25, 0.25, [NOT_REPRODUCED, REPRODUCED, NOT_REPRODUCED]),
        (0.5, 1.0, 0.25, [REPRODUCED, NOT_REPRODUCED, NOT_TESTED]),
    ],
)
def test_without_norm_the_scale_tells_whether_gradients_vanish_and_shortcuts_are_judged_where_they_do(
    group: Group, he: float, small: float, residual: float, expected: list[str]
) -> None:
    measured = bare(group, "plain110", he) | bare(group, "plain110", small, 0.5) | bare(group, "plain20", 0.25)
    finding = find("gradients", group, measured | bare(group, "resnet110", residual, 0.5))
    assert of(finding, VANISH_HE, VANISH_SMALL, SHORTCUTS_HELP) == expected


@pytest.mark.parametrize(("factor", "outcome"), [(0.25 * 0.95, REPRODUCED), (0.3 * 0.95, NOT_REPRODUCED)])
def test_gradients_without_norm_follow_the_square_of_the_scale_of_weights(
    group: Group, factor: float, outcome: str
) -> None:
    finding = find("gradients", group, bare(group, "plain110", 0.95) | bare(group, "plain110", factor, 0.5))
    assert of(finding, PRODUCT) == [outcome]
    assert of(find("gradients", group, bare(group, "plain110", 0.95)), PRODUCT) == [NOT_TESTED]


@pytest.mark.parametrize(("factor", "outcome"), [(1.5, REPRODUCED), (1.0, NOT_REPRODUCED)])
def test_one_network_tells_that_gradients_can_explode(group: Group, factor: float, outcome: str) -> None:
    finding = find("gradients", group, bare(group, "plain56", 0.95) | bare(group, "resnet56", factor))
    assert of(finding, EXPLODE) == [outcome]


def test_one_seed_of_trained_networks_leaves_every_claim_undecided(group: Group) -> None:
    finding = find("gradients", group, {subject(group, "plain56"): falling(1.0)})
    assert of(finding, VANISH, HEALTHY_TRAINED) == [UNDECIDED] * 2
    measured = {
        subject(group, name): readings("response", [value])
        for name, value in {"plain20": 1.0, "resnet20": 0.5, "resnet56": 0.4}.items()
    }
    assert outcomes(find("responses", group, measured)) == {SMALLER: UNDECIDED, SMALLER_STILL: UNDECIDED}
    assert outcomes(find("lesions", group, lesions(group, [[0.2, 0.5]]))) == {FALL_BACK: UNDECIDED}


@pytest.mark.parametrize(
    ("strengths", "smaller", "still"),
    [
        ((1.0, 1.0, 0.5, 0.4), REPRODUCED, REPRODUCED),
        ((1.0, 0.3, 0.5, 0.4), UNDECIDED, REPRODUCED),
        ((0.3, 0.3, 0.5, 0.5), NOT_REPRODUCED, NOT_REPRODUCED),
    ],
)
def test_every_pair_tells_whether_responses_are_smaller(
    group: Group, strengths: tuple[float, ...], smaller: str, still: str
) -> None:
    names = ("plain20", "plain56", "resnet20", "resnet56")
    measured = {
        subject(group, name, seed): readings("response", [value, value])
        for name, value in zip(names, strengths, strict=True)
        for seed in (0, 1)
    }
    assert outcomes(find("responses", group, measured)) == {SMALLER: smaller, SMALLER_STILL: still}


def test_blocks_and_layers_are_counted_from_the_input_and_sorted_ones_by_rank(group: Group) -> None:
    gradients = find("gradients", group, {subject(group, "plain20", source=INITIALISATION): falling(2.0)})
    blocks = plate(gradients).panels[0].x
    assert [blocks.said(at, index, 9) for at, index in ((0.0, 0), (1.0, 8))] == ["9 of 9", "1 of 9"]
    responses = find("responses", group, {subject(group, "plain20"): readings("response", [0.5, 1.5])})
    in_order, by_size = (panel.x for panel in plate(responses).panels)
    assert (in_order.said(0.0, 0, 2), in_order.label) == ("1 of 2", "3x3 layer, first to last")
    assert by_size.label == "rank, largest to smallest"


def test_nothing_is_said_of_batch_norm_where_only_networks_without_were_measured(group: Group) -> None:
    measured = {subject(group, "plain20", source=INITIALISATION, norm="none"): falling(2.0)}
    assert find("gradients", group, measured).sentence == "Only networks without norm were measured."


def test_responses_of_networks_that_differ_in_more_than_depth_are_not_compared(runs: Path) -> None:
    for width, networks in ((1, ("plain20", "resnet20")), (2, ("resnet20", "resnet56"))):
        study = Synthetic(runs, "cifar10", "short32", {"model.width": width})
        study.add_all([*networks], seeds=2)
    (group,) = load_study(runs).groups
    measured = {
        replace(subject(group, name.partition("+")[0], seed, INITIALISATION), network=name): readings(
            "response", [value]
        )
        for name, value in (("plain20", 1.0), ("resnet20", 0.5), ("resnet20+width2", 0.2), ("resnet56+width2", 0.3))
        for seed in (0, 1)
    }
    smaller, still = find("responses", group, measured).claims
    assert smaller.ours.startswith("ResNet-20 0.50 times plain-20 (")
    assert still.ours.startswith("ResNet-56+width2 1.50 times ResNet-20+width2 (")
    assert ";" not in smaller.ours + still.ours


def test_responses_of_blocks_of_any_number_of_layers_are_held_against_the_plain_network(runs: Path) -> None:
    Synthetic(runs, "cifar10", "short32").add("plain20")
    Synthetic(runs, "cifar10", "short32", {"model.skip": 1}).add("resnet20")
    (group,) = load_study(runs).groups
    measured = {
        replace(subject(group, name.partition("+")[0], 0, INITIALISATION), network=name): readings("response", [value])
        for name, value in (("plain20", 1.0), ("resnet20+skip1", 0.5))
    }
    smaller, _ = find("responses", group, measured).claims
    assert smaller.ours == "ResNet-20+skip1 0.50 times plain-20 (1 seed)"


def test_responses_are_compared_over_shared_seeds(group: Group) -> None:
    values = {("plain20", 0): 9.0, ("plain20", 1): 1.0, ("resnet20", 1): 0.5, ("plain56", 0): 1.0, ("resnet56", 1): 1.0}
    measured = {subject(group, *key): readings("response", [value]) for key, value in values.items()}
    smaller, _ = find("responses", group, measured).claims
    assert smaller.ours == "ResNet-20 0.50 times plain-20 (1 seed)"


def lesions(group: Group, added: list[list[float]]) -> Measured:
    """What the blocks of ResNet-20 add, in each of some seeds."""
    return {
        subject(group, "resnet20", seed): lesion(0.1, [0.2, 0.3], [0.2, 0.3], values)
        for seed, values in enumerate(added)
    }


@pytest.mark.parametrize(
    ("added", "outcome", "near"),
    [
        ([[0.05, 0.5]], REPRODUCED, "1 of 2"),
        ([[0.05, 0.5], [0.5, 0.05]], REPRODUCED, "2 of 4"),
        ([[0.2, 0.5], [0.5, 0.2]], NOT_REPRODUCED, "0 of 4"),
    ],
)
def test_one_block_near_the_identity_shows_that_it_can_be(
    group: Group, added: list[list[float]], outcome: str, near: str
) -> None:
    finding = find("lesions", group, lesions(group, added))
    assert outcomes(finding) == {FALL_BACK: outcome}
    assert finding.claims[0].ours.startswith(f"ResNet-20: {near} blocks below 0.1")


def errors(train: float, test: float) -> list[Reading]:
    return readings("train_error", [train], 0) + readings("test_error", [test], 0)


def built(group: Group, name: str, shallower: str, seed: int = 0) -> Subject:
    return replace(subject(group, shallower, seed), network=name, depth=56, source=f"{BUILT_FROM}{shallower}")


def test_a_built_network_stands_beside_the_one_that_was_trained(group: Group) -> None:
    measured = {
        subject(group, "plain20"): errors(0.1, 0.12),
        built(group, "plain56", "plain20"): errors(0.1, 0.12),
        subject(group, "plain56"): errors(0.45, 0.46),
        subject(group, "resnet20", 1): errors(0.08, 0.1),
        built(group, "resnet56", "resnet20", 1): errors(0.08, 0.1001),
    }
    finding = find("construction", group, measured)
    assert finding.plate is None
    assert row(finding, "plain-56", "plain-20") == ["0", "10.00", "10.00", "45.00", "12.00", "12.00", "46.00"]
    assert row(finding, "ResNet-56", "ResNet-20") == ["1", "8.00", "8.00", "-", "10.00", "10.01", "-"]
    assert finding.sentence == (
        "In 1 of 2 cases the built network has exactly the shallower one's errors; "
        "SGD found one with a higher training error in 1 of 1."
    )
    claims = [(claim.text.partition(":")[0], claim.kind, claim.outcome, claim.ours) for claim in finding.claims]
    assert claims == [
        ("A residual block can be the identity", "existence", "not reproduced", "errors equal in 0 of 1"),
        ("A deeper plain network need not be worse", "existence", "exact", "errors equal in 1 of 1"),
        (
            "And SGD does not find a plain network as good as the one that can be built",
            *("contrast", "undecided", "training error: plain-56 seed 0: 10.00% built, 45.00% found"),
        ),
    ]
    assert FIND["construction"](group, {subject(group, "plain20"): errors(0.1, 0.12)}) is None


@pytest.mark.parametrize(
    ("found", "outcome", "interval"),
    [
        ((0.45, 0.46), "reproduced", "+35.5 points (95% interval 29.1 to 41.9 over 2 seeds)"),
        ((0.12, 0.3), "undecided", "+11.0 points (95% interval -103.4 to 125.4 over 2 seeds)"),
        ((0.07, 0.071), "not reproduced", "-3.0 points (95% interval -3.6 to -2.3 over 2 seeds)"),
    ],
)
def test_an_interval_over_seeds_decides_whether_sgd_finds_what_can_be_built(
    group: Group, found: tuple[float, float], outcome: str, interval: str
) -> None:
    measured: Measured = {}
    for seed, error in enumerate(found):
        measured |= {
            subject(group, "plain20", seed): errors(0.1, 0.12),
            built(group, "plain56", "plain20", seed): errors(0.1, 0.12),
            subject(group, "plain56", seed): errors(error, error),
        }
    claim = find("construction", group, measured).claims[-1]
    assert (claim.outcome, claim.ours) == (
        outcome,
        f"training error: plain-56 found minus built from plain-20 {interval}",
    )


@pytest.mark.parametrize(
    ("ratios", "outcome"),
    [
        ((0.8, 0.9), UNDECIDED),
        ((0.8, 0.81), REPRODUCED),
        ((0.97, 0.97), NOT_REPRODUCED),
    ],
)
def test_the_interval_over_seeds_decides_whether_responses_are_smaller(
    group: Group, ratios: tuple[float, float], outcome: str
) -> None:
    measured = {subject(group, "plain20", seed): readings("response", [1.0]) for seed in (0, 1)}
    measured |= {subject(group, "resnet20", seed): readings("response", [ratios[seed]]) for seed in (0, 1)}
    smaller, _ = find("responses", group, measured).claims
    assert smaller.outcome == outcome
    assert "95% interval" in smaller.ours


def decayed(runs: Path, recipe: str, near: dict[str, tuple[int, int]]) -> dict[str, Claim]:
    """The tested claims of each group of ResNet-20, two seeds, when so many of its nine blocks add next to nothing."""
    for decay in near:
        Synthetic(runs, "shapes", recipe, {"recipe.weight_decay": decay}).add_all(["resnet20"], seeds=2)
    groups = load_study(runs).groups
    for one in groups:
        counts = near[str(one.recipe_settings["weight_decay"])]
        measured = {
            subject(one, "resnet20", seed): lesion(0.1, [0.1] * 9, [0.1] * 9, [0.01] * count + [0.5] * (9 - count))
            for seed, count in enumerate(counts)
        }
        table.write(table.table_file(runs, one, "lesions"), measured)
    tested = {one.recipe: answers(one, groups, runs, 0.005).tested for one in groups}
    return {recipe: claim for recipe, own in tested.items() for claim in own if claim.text == SKIPS}


@pytest.mark.parametrize(
    ("near", "outcome"),
    [
        ({"0.0001": (0, 0), "0.005": (5, 5)}, REPRODUCED),
        ({"0.0001": (0, 0), "0.0005": (9, 9), "0.005": (0, 0)}, NOT_REPRODUCED),
        ({"0.0001": (0, 0), "0.005": (0, 6)}, UNDECIDED),
    ],
)
def test_the_strongest_decay_tells_whether_it_makes_blocks_idle(
    runs: Path, near: dict[str, tuple[int, int]], outcome: str
) -> None:
    claims = decayed(runs, "quick10", near)
    assert list(claims) == ["quick10"], "in the group with the least decay alone"
    assert claims["quick10"].outcome == outcome
    assert f"0.005: {', '.join(map(str, near['0.005']))}" in claims["quick10"].ours


def test_a_schedule_too_short_for_decay_decides_nothing(runs: Path) -> None:
    """Momentum 0.9 makes a rate ten times as large: 0.01 * (480 + 96 / 10 + 64 / 100) * 10 * 0.005 = 0.2451."""
    claim = decayed(runs, "quick", {"0.0001": (0, 0), "0.005": (5, 6)})["quick"]
    assert claim.outcome == UNDECIDED
    assert claim.ours.endswith("too short a schedule: of what nothing holds up, 78% is left")
