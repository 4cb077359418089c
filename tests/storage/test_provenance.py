from resexp.storage.provenance import source_version


def test_the_version_of_the_source_is_known_in_a_checkout_and_unknown_elsewhere() -> None:
    version = source_version()
    assert set(version) == {"commit", "dirty"}
    assert version["commit"] is None or len(version["commit"]) == 40
