"""When does the daemon collect garbage?"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from poller.garbage import MOST_YOUNG, Garbage
from poller.model.ids import MappingName


@pytest.fixture(autouse=True)
def _only_explicit_collections() -> Iterator[None]:
    gc.disable()
    yield
    gc.freeze()  # otherwise each later collection would search all tests; see conftest.py
    gc.enable()


class Run:
    """An object that refers to itself, as a cancelled task does."""

    def __init__(self) -> None:
        self.itself = self


def mappings(count: int, first: int = 0) -> list[MappingName]:
    return [MappingName(f"m{number}") for number in range(first, first + count)]


def test_a_run_that_has_begun_and_ended_after_the_start_is_freed_at_once() -> None:
    garbage = Garbage()
    garbage.freeze()
    run = Run()
    is_alive = weakref.ref(run)
    del run
    garbage.collect(changed=mappings(1), existing=mappings(1))
    assert is_alive() is None


@pytest.mark.slow
def test_objects_of_the_start_are_searched_only_when_the_runs_of_many_mappings_are_young() -> None:
    garbage, run = Garbage(), Run()
    is_alive = weakref.ref(run)
    garbage.freeze()
    del run
    everything = mappings(2 * MOST_YOUNG)
    for first in range(MOST_YOUNG):
        garbage.collect(changed=mappings(1, first), existing=everything)
        garbage.collect(changed=mappings(1, first), existing=everything)
    assert is_alive() is not None
    garbage.collect(changed=mappings(1, MOST_YOUNG), existing=everything)
    assert is_alive() is None


@pytest.mark.slow
def test_after_a_collection_of_all_objects_the_runs_are_frozen_again() -> None:
    garbage, run = Garbage(), Run()
    garbage.freeze()
    everything = mappings(MOST_YOUNG + 1)
    garbage.collect(changed=everything, existing=everything)
    is_alive = weakref.ref(run)
    del run
    garbage.collect(changed=mappings(1), existing=everything)
    assert is_alive() is not None


def test_mappings_that_were_removed_do_not_make_a_collection_larger() -> None:
    garbage, run = Garbage(), Run()
    is_alive = weakref.ref(run)
    garbage.freeze()
    del run
    for first in range(3 * MOST_YOUNG):
        garbage.collect(changed=mappings(1, first), existing=mappings(1, first))
    assert is_alive() is not None
