"""Which roles a host runs, by the names that it is started with."""

from __future__ import annotations

import pytest

from core.errors import InvalidRequest
from core.jobs.roles import WAITING_LISTS
from supervisor.plan import select_roles


@pytest.mark.parametrize("names", ["", " ", ","])
def test_without_names_a_host_runs_every_role(names: str):
    assert select_roles(names) == tuple(WAITING_LISTS)


@pytest.mark.parametrize(
    ("names", "roles"),
    [
        ("synthesizer", ("synthesizer",)),
        ("trainer, synthesizer", ("trainer", "synthesizer")),
        ("files", ("files",)),
        ("splitter,files", ("splitter", "files")),
    ],
)
def test_a_host_runs_the_roles_that_are_named(names: str, roles: tuple[str, ...]):
    assert select_roles(names) == roles


@pytest.mark.parametrize("names", ["splitter,synthesizer", "preprocessor,trainer"])
def test_a_host_that_did_file_jobs_before_that_role_existed_still_does(names: str):
    assert select_roles(names) == (*names.split(","), "files")


def test_an_unknown_role_is_rejected_with_the_names_there_are():
    with pytest.raises(InvalidRequest, match="'singer'; there are splitter, "):
        select_roles("splitter,singer")
