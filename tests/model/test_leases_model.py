"""Do the rules for leases keep their promises in every order of events, and is each rule needed?

Spin checks the model `leases.pml`. A configuration must keep all promises. Then each control breaks one rule, and spin
must find a history that breaks a promise: so the model can see the faults that the rules are made against.
tests/README.md has larger configurations, which are started by hand.
"""

from __future__ import annotations

import re
from importlib import import_module
from operator import attrgetter
from pathlib import Path

import pytest

from poller.core import leases
from tests.model.spin import MODEL, check

PARENT_AND_CHILD = ("SHARDS=2", "CHILD")
BALANCE = ("PUNCTUAL", "SHARDS=2", "ENDLESS", "ONE_HAS_ALL")
UNIT = ("PUNCTUAL", "ENDLESS", "UNITS=1")
MUTE = ("PUNCTUAL", "MUTE", "FAULTS=1")
USED_UNIT = ("PUNCTUAL", "SHARDS=2", "UNITS=1", "RECORDS=1", "FAULTS=1")

CONFIGURATIONS = {
    "one shard": (),
    "a parent and its child": (*PARENT_AND_CHILD, "RECORDS=1"),
    "one shard, read in the end": ("PUNCTUAL", "FAULTS=2"),
    "one shard, read in the end by one of three workers": ("PUNCTUAL", "FAULTS=1", "WORKERS=3"),
    "one shard, read in the end although a worker gets no answers": MUTE,
    "a parent and its child, read in the end": ("PUNCTUAL", "FAULTS=1", *PARENT_AND_CHILD),
    "two shards, distributed in the end": ("FAULTS=1", *BALANCE),
    "one shard and one unit, used in the end": ("FAULTS=1", *UNIT),
    "two shards and one unit, used in the end by one of three workers": ("WORKERS=3", "SHARDS=2", *UNIT),
    "two shards and one unit, used by one worker at a time": USED_UNIT,
}

ASSERTION, CYCLE = "assertion violated", "acceptance cycle"
"""Spin's words for a broken `assert`, and for a history that never reaches what an `ltl` formula promises."""

CONTROLS = {
    "WITHOUT_R1": (ASSERTION, ()),
    "WITHOUT_R2": (ASSERTION, ()),
    "R2_COUNTS_ON": (ASSERTION, ()),
    "R2_TAKES_FROM_THE_STOPPED": (ASSERTION, ()),
    "R2_NEVER_EXPIRES": (CYCLE, ("PUNCTUAL", "FAULTS=1")),
    "WITHOUT_R3": (ASSERTION, ()),
    "WITHOUT_R4": (ASSERTION, ()),
    "R4_WHOLE_DURATION": (ASSERTION, ()),
    "R4_FROM_THE_ANSWER": (ASSERTION, ()),
    "WITHOUT_R5": (ASSERTION, ()),
    "WITHOUT_R6": (ASSERTION, ()),
    "R6_MOVES_THE_DEADLINE": (ASSERTION, ()),
    "R6_TAKES_ON": (CYCLE, MUTE),
    "R7_GIVES_EARLY": (ASSERTION, ()),
    "R7_DELIVERS_ON": (ASSERTION, ()),
    "WITHOUT_R8": (CYCLE, BALANCE),
    "R8_GIVES_WITHOUT_NEED": (CYCLE, BALANCE),
    "R8_COUNTS_THE_DEAD": (CYCLE, ("FAULTS=1", *BALANCE)),
    "WITHOUT_R9": (ASSERTION, ("PUNCTUAL", *PARENT_AND_CHILD)),
    "R9_TRUSTS_A_SCAN": (ASSERTION, ("PUNCTUAL", *PARENT_AND_CHILD)),
    "R9_CREATES_THE_CHILD_FIRST": (ASSERTION, ("PUNCTUAL", *PARENT_AND_CHILD)),
    "WITHOUT_R10": (CYCLE, ("SHARDS=2", *UNIT)),
    "R10_COUNTS_ALL_WORKERS": (CYCLE, ("SHARDS=2", *UNIT)),
    "R10_GIVES_A_USED_UNIT": (ASSERTION, USED_UNIT),
    "R10_IGNORES_THE_NEED": (CYCLE, ("FAULTS=1", *UNIT)),
}
"""The switch that breaks a rule, how spin must refute the model, and the configuration in which it does."""


@pytest.mark.slow
@pytest.mark.parametrize("switches", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_the_rules_keep_their_promises(switches: tuple[str, ...], tmp_path: Path) -> None:
    verdict = check(switches, tmp_path)
    assert verdict.broken is None
    assert verdict.is_complete
    if "PUNCTUAL" not in switches or any(each.startswith("FAULTS") for each in switches):
        # A step that never happens proves nothing. The processes have no end.
        assert [step for step in verdict.unreached if '"-end-"' not in step] == []


@pytest.mark.slow
@pytest.mark.parametrize("switch", CONTROLS)
def test_without_a_rule_a_promise_is_broken(switch: str, tmp_path: Path) -> None:
    kind, configuration = CONTROLS[switch]
    verdict = check((*configuration, switch), tmp_path, options=("-O0",))
    assert verdict.broken is not None
    assert kind in verdict.broken


def test_each_rule_names_its_code_and_has_a_control() -> None:
    rules = set(re.findall(r"^    (R\d+) ", leases.__doc__ or "", re.MULTILINE))
    assert len(rules) == 10
    assert set(re.findall(r"\b(R\d+): [^*]*?\bIn the code: poller", MODEL.read_text())) == rules
    assert {rule for switch in CONTROLS for rule in re.findall(r"R\d+", switch)} == rules


def test_the_code_that_the_model_names_exists() -> None:
    for module, path in re.findall(r"\b(poller\.[\w.]+):([\w.]+)", MODEL.read_text()):
        attrgetter(path)(import_module(module))
