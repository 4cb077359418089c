"""Three contrasts, their words, and a sentence that is true of the data."""

import shutil

import pytest
from synthetic import Synthetic, only_group, write_run

from resexp.analysis.intervals import paired_interval, t_quantile
from resexp.analysis.verdict import (
    BETTER,
    NOT_OBSERVED,
    NOT_TRAINED,
    NOTHING,
    OBSERVED,
    ONE_SEED,
    PAIRED,
    UNDECIDED,
    WELCH,
    Contrast,
    Verdict,
    judge,
    word,
)
from resexp.analysis.wording import bottom_line, sentence
from resexp.report.tables import contrasts_csv
from resexp.storage.run import FAILED, FINISHED, INTERRUPTED

MARGIN = 0.005


def verdict_of(short: Synthetic, ends: dict[str, list[float]]) -> tuple[Verdict, str]:
    for name, errors in ends.items():
        for seed, error in enumerate(errors):
            short.add(name, seed, error, noise=0)
    return judged(short)


def judged(short: Synthetic) -> tuple[Verdict, str]:
    group = only_group(short.runs)
    verdict = judge(group, MARGIN)
    return verdict, sentence(group, verdict)


@pytest.mark.parametrize(
    ("freedom", "expected"),
    [(1, 12.7062), (2, 4.30265), (3, 3.18245), (4, 2.77645), (9, 2.26216), (29, 2.04523), (200, 1.97190)],
)
def test_t_quantile_agrees_with_the_tables(freedom: int, expected: float) -> None:
    assert t_quantile(0.95, freedom) == pytest.approx(expected, rel=1e-5)
    assert t_quantile(0.99, 5) == pytest.approx(4.03214, rel=1e-5)
    assert t_quantile(0.95, freedom + 1) < t_quantile(0.95, freedom + 0.5) < expected


def test_paired_interval_by_hand() -> None:
    assert paired_interval([1.0, 2.0, 3.0]) == pytest.approx((2 - 4.30265 / 3**0.5, 2 + 4.30265 / 3**0.5), rel=1e-5)


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        ((0.001, 0.1), OBSERVED),
        ((0.001, 0.004), OBSERVED),
        ((0.0, 0.004), NOT_OBSERVED),
        ((-0.2, 0.0), NOT_OBSERVED),
        ((-0.2, -0.1), BETTER),
        ((0.0, 0.005), UNDECIDED),
        ((-0.1, 0.1), UNDECIDED),
    ],
)
def test_word(interval: tuple[float, float], expected: str) -> None:
    assert word(interval, MARGIN) == expected


def contrast_of(deep: dict[int, float], shallow: dict[int, float]) -> Contrast:
    return Contrast("", "running_error", [(1, deep), (-1, shallow)], MARGIN)


@pytest.mark.parametrize(
    ("deep", "more"),
    [
        ([0.01, 0.03], "about 5 seeds in all would show degradation at this mean and spread"),
        ([-0.01, -0.03], "about 4 seeds in all would show no degradation at this mean and spread"),
        ([0.0, 0.004, -0.004], "about 5 seeds in all would show no degradation at this mean and spread"),
        ([0.003, -0.05, 0.05], "more than 30 seeds in all would show no degradation at this mean and spread"),
    ],
)
def test_undecided_says_how_many_seeds_would_show_what(deep: list[float], more: str) -> None:
    contrast = contrast_of(dict(enumerate(deep)), {seed: 0.0 for seed in range(len(deep))})
    assert (contrast.word, contrast.more) == (UNDECIDED, more)


def test_contrast_without_seeds() -> None:
    assert contrast_of({}, {}).word == NOTHING
    assert contrast_of({0: 0.1}, {1: 0.2}).word == NOTHING


def test_welch_stands_beside_the_paired_interval() -> None:
    deep, shallow = {0: 0.10, 1: 0.12, 2: 0.17}, {0: 0.05, 1: 0.06, 2: 0.07}
    contrast = contrast_of(deep, shallow)
    variance = (0.0013 / 3, 0.0001 / 3)
    freedom = sum(variance) ** 2 / (variance[0] ** 2 / 2 + variance[1] ** 2 / 2)
    half = t_quantile(0.95, freedom) * sum(variance) ** 0.5
    assert contrast.welch == pytest.approx((0.07 - half, 0.07 + half))
    assert contrast.method == PAIRED
    assert contrast.interval == pytest.approx(paired_interval([0.05, 0.06, 0.10]))


def test_welch_decides_where_seeds_do_not_match(short: Synthetic) -> None:
    for seed, error in enumerate((0.010, 0.011, 0.012)):
        short.add("plain20", seed, error, noise=0)
        short.add("plain56", 10 + seed, error + 0.04, noise=0)
    verdict, said = judged(short)
    assert verdict.plain.method == WELCH
    first = "declared,plain-56 minus plain-20,running_error"
    assert contrasts_csv(verdict).splitlines()[1].startswith(f"{first},10 11 12; 0 1 2,")
    assert verdict.plain.word == OBSERVED
    assert verdict.plain.difference == pytest.approx(0.04)
    assert verdict.plain.interval == pytest.approx((0.04 - 0.002267, 0.04 + 0.002267), abs=1e-5)
    assert said.startswith(
        "Seeds that do not match: plain-56 ends 4.0 points above plain-20 in running training error "
        "(95% Welch interval 3.8 to 4.2: degradation observed)"
    )


def test_welch_says_how_many_seeds_would_show_what() -> None:
    contrast = contrast_of({0: 0.02, 1: 0.06}, {2: 0.01, 3: 0.02})
    assert contrast.method == WELCH
    assert (contrast.word, contrast.more) == (
        UNDECIDED,
        "about 7 seeds in all would show degradation at this mean and spread",
    )


def test_the_interaction_pairs_all_four_networks() -> None:
    terms = [(1, {0: 0.06, 1: 0.07, 2: 0.05}), (-1, {0: 0.02, 1: 0.02, 2: 0.02})]
    terms += [(-1, {0: 0.01, 1: 0.02, 2: 0.01}), (1, {0: 0.02, 1: 0.02, 2: 0.02})]
    contrast = Contrast("", "running_error", terms, MARGIN)
    assert contrast.differences == pytest.approx({0: 0.05, 1: 0.05, 2: 0.04})


def test_clean_and_test_errors_and_other_depths_are_told_apart(short: Synthetic) -> None:
    for seed in range(3):
        for name, error in (("plain20", 0.01), ("plain32", 0.02), ("plain56", 0.05), ("resnet20", 0.01)):
            short.add(name, seed, error + seed / 1000, 2 * error + seed / 1000, noise=0)
    verdict, _ = judged(short)
    assert [(one.name, one.metric) for one in verdict.secondary] == [
        ("plain-56 minus plain-20", "clean_train_error"),
        ("plain-56 minus plain-20", "test_error"),
    ]
    assert verdict.secondary[1].difference == pytest.approx(0.08)
    assert [(one.name, one.metric) for one in verdict.exploratory] == [("plain-32 minus plain-20", "running_error")]


def test_three_seeds_decide(short: Synthetic) -> None:
    verdict, said = verdict_of(
        short,
        {
            "plain20": [0.010, 0.011, 0.012],
            "plain56": [0.050, 0.052, 0.054],
            "resnet20": [0.010, 0.010, 0.010],
            "resnet56": [0.007, 0.006, 0.005],
        },
    )
    assert [contrast.word for contrast in verdict.contrasts] == [OBSERVED, BETTER, OBSERVED]
    assert verdict.plain.difference == pytest.approx(0.041)
    assert verdict.plain.interval == pytest.approx((0.041 - 0.002484, 0.041 + 0.002484), abs=1e-5)
    assert verdict.interaction.difference == pytest.approx(0.045)
    assert said == (
        "3 seeds: plain-56 ends 4.1 points above plain-20 in running training error (95% interval 3.9 to 4.3: "
        "degradation observed), ResNet-56 0.40 points below ResNet-20 (95% interval -0.65 to -0.15: improvement "
        "observed); the added depth costs the plain network 4.5 points more than the residual one (95% interval 4.0 "
        "to 5.0: more degradation observed)."
    )


def test_two_seeds_are_undecided(short: Synthetic) -> None:
    verdict, said = verdict_of(short, {"plain20": [0.01, 0.02], "plain56": [0.05, 0.08]})
    assert verdict.plain.word == UNDECIDED
    assert verdict.residual.word == verdict.interaction.word == NOTHING
    assert "(95% interval -7.7 to 17.7 over 2 seeds, each above 0: undecided; about 3 seeds in all would show " in said
    assert said.endswith("Not run: ResNet-20 and ResNet-56.")


@pytest.mark.parametrize(
    ("errors", "line"),
    [
        (
            {"plain20": [0.01, 0.011, 0.012], "plain56": [0.05, 0.051, 0.053]}
            | {"resnet20": [0.01, 0.02, 0.03], "resnet56": [0.01, 0.02, 0.03]},
            "deeper plain networks are worse and deeper residual networks are not worse.",
        ),
        (
            {"plain20": [0.01, 0.02], "plain56": [0.05, 0.08]},
            "deeper plain networks ended worse in each of 2 seeds (too few to be sure). "
            "On test images deeper plain networks are worse.",
        ),
        (
            {"plain20": [0.02, 0.03, 0.01], "plain56": [0.01, 0.08, 0.05]}
            | {"resnet20": [0.02, 0.03], "resnet56": [0.01, 0.0]},
            "deeper plain networks may be worse or not (too few seeds to tell) and deeper residual networks ended "
            "better in each of 2 seeds (too few to be sure). "
            "On test images deeper plain networks are worse and deeper residual networks are better.",
        ),
        (
            {"plain20": [0.05], "plain56": [0.06], "resnet20": [0.04], "resnet56": [0.03]},
            "deeper plain networks ended worse (one seed) and deeper residual networks ended better (one seed).",
        ),
        (
            {"plain20": [0.01, 0.011], "plain56": [0.05, 0.051], "resnet20": [0.04], "resnet56": [0.04]},
            "deeper plain networks are worse and deeper residual networks ended level (one seed).",
        ),
        ({"plain20": [0.05]}, ""),
    ],
)
def test_the_bottom_line_says_it_in_plain_words(short: Synthetic, errors: dict[str, list[float]], line: str) -> None:
    assert bottom_line(verdict_of(short, errors)[0]) == (line and f"On their own training set {line}")


def test_the_bottom_line_is_silent_about_test_images_that_do_not_decide(short: Synthetic) -> None:
    for network, seed, train, test in [
        *(("plain20", 0, 0.02, 0.09), ("plain20", 1, 0.03, 0.10)),
        *(("plain56", 0, 0.03, 0.10), ("plain56", 1, 0.07, 0.20)),
    ]:
        short.add(network, seed, train, test, noise=0)
    verdict, _ = judged(short)
    assert verdict.plain.word == UNDECIDED
    assert "test images" not in bottom_line(verdict)


def test_one_seed_is_a_difference_without_an_interval(short: Synthetic) -> None:
    verdict, said = verdict_of(short, {"plain20": [0.05], "plain56": [0.173], "resnet20": [0.04], "resnet56": [0.04]})
    assert {contrast.word for contrast in verdict.contrasts} == {ONE_SEED}
    assert said == (
        "One seed: plain-56 ends 12.3 points above plain-20 in running training error, ResNet-56 level with "
        "ResNet-20; no interval can be given."
    )


@pytest.mark.parametrize(("falls", "said"), [(0.05, True), (0.0, False)])
def test_plain_networks_that_were_still_learning_when_the_rate_dropped_are_told(
    short: Synthetic, falls: float, said: bool
) -> None:
    """Errors of both fall by as much in each eighth of the iterations before the first drop."""
    for name, error in (("plain20", 0.2), ("plain56", 0.4)):
        run = short.add(name, 0, error, noise=0)
        record = run.record()
        drop = short.config(name, 0).recipe.drops[0]
        rows = [
            row._replace(train_error=error + falls * (drop - row.iteration) / (drop // 8))
            if row.iteration <= drop
            else row
            for row in run.rows(record)
        ]
        shutil.rmtree(run.directory)
        write_run(run, short.config(name, 0), rows, FINISHED)
    sentence = "plain-20 and plain-56 were still learning when the rate first dropped"
    text = judged(short)[1]
    assert (sentence in text) == said
    assert ("fell by 6.0 and 6.0 points" in text) == said, "rows 900 and 1,000 against 800"


def test_only_seeds_that_both_have_are_compared(short: Synthetic) -> None:
    verdict, said = verdict_of(short, {"plain20": [0.01, 0.02, 0.9], "plain56": [0.05, 0.06]})
    assert verdict.plain.differences == pytest.approx({0: 0.04, 1: 0.04})
    assert said.startswith("2 shared seeds: plain-56 ends 4.0 points above")
    assert "Missing: plain-56 seed 2." in said


def test_contrasts_over_different_numbers_of_seeds_say_so(short: Synthetic) -> None:
    _, said = verdict_of(
        short,
        {
            "plain20": [0.010, 0.011, 0.012],
            "plain56": [0.050, 0.052, 0.054],
            "resnet20": [0.010],
            "resnet56": [0.007],
        },
    )
    assert said.startswith("Plain-56 ends 4.1 points above plain-20 in running training error (95% interval ")
    assert "over 3 seeds: degradation observed)" in said
    assert "ResNet-56 0.30 points below ResNet-20 (seed 0 alone, no interval)" in said
    assert "Missing: ResNet-20 seeds 1, 2 and ResNet-56 seeds 1, 2." in said


def test_deep_networks_that_did_not_train_are_named_and_counted(short: Synthetic) -> None:
    verdict, said = verdict_of(short, {"plain20": [0.05], "plain56": [0.892]})
    assert verdict.plain.word == ONE_SEED
    assert "plain-56 did not train within 2,000 iterations (running training error 89.2%)." in said
    assert "nothing about depth" not in said
    _, said = verdict_of(short, {"plain32": [0.05], "resnet20": [0.05, 0.05], "resnet56": [0.892, 0.2]})
    assert "ResNet-56 did not train within 2,000 iterations in 1 of 2 seeds (running training error 89.2%)." in said


def test_a_shallow_network_that_did_not_train_settles_nothing(short: Synthetic) -> None:
    verdict, said = verdict_of(
        short, {"plain20": [0.9, 0.9], "plain56": [0.9, 0.9], "resnet20": [0.1, 0.1], "resnet56": [0.1, 0.1]}
    )
    assert [contrast.word for contrast in verdict.contrasts] == [NOT_TRAINED, NOT_OBSERVED, NOT_TRAINED]
    assert "A comparison with plain-20 therefore says nothing about depth." in said
    assert "interval 0.00 to 0.00)" in said


def test_runs_that_are_not_finished_are_named_and_after_the_fourth_counted(short: Synthetic) -> None:
    for seed in range(5):
        short.add("plain20", seed, state=FAILED)
    short.add("plain32", 0, state=INTERRUPTED)
    _, said = judged(short)
    assert said.startswith("No verdict: ")
    assert "Not counted, because not finished: plain-20 seed 0 (failed at iteration 1,000 of 2,000)" in said
    assert said.endswith("plain-20 seed 3 (failed at iteration 1,000 of 2,000) and 2 more.")
