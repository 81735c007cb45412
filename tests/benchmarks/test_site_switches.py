"""What a proof concludes from what two sites acknowledged."""

from __future__ import annotations

from benchmarks.chaos.fenced_sites import AcknowledgedFile
from benchmarks.chaos.site_switches import lost, reigns


def acknowledged(*files: tuple[str, float]) -> list[AcknowledgedFile]:
    return [AcknowledgedFile(f"{site}-{number}", site, at, at + 0.5) for number, (site, at) in enumerate(files)]


def test_a_site_that_writes_beside_the_other_one_shows_as_more_reigns_than_switches():
    after_one_another = acknowledged(("first", 1.0), ("first", 2.0), ("second", 3.0))
    at_once = acknowledged(("first", 1.0), ("second", 2.0), ("first", 3.0), ("second", 4.0))

    assert [len(part) for part in reigns(after_one_another)] == [2, 1]
    assert len(reigns(at_once)) == 4


def test_what_was_sent_before_a_switch_and_all_of_the_last_site_must_be_there():
    files = acknowledged(("first", 1.0), ("first", 2.0), ("first", 3.0), ("second", 4.0))
    everything = {file.name for file in files}

    assert lost(files, everything, [2.0]) == []
    assert lost(files, everything - {"first-0"}, [2.0]) == ["first-0"]
    assert lost(files, everything - {"first-1"}, [2.0]) == []  # acknowledged behind what was sent
    assert lost(files, everything - {"second-3"}, [2.0]) == ["second-3"]
