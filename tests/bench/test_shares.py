"""A look at a module counts for the part with the longest fitting path."""

import pytest

from tests.bench.sampled import part_of


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("aws/signing.py", "signing"),
        ("aws/clients.py", "clients"),
        ("core/envelope.py", "envelope"),
        ("core/queues/delivery.py", "engine"),
        ("app.py", "rest"),
    ],
)
def test_a_look_counts_for_the_part_with_the_longest_fitting_path(path: str, part: str) -> None:
    assert part_of(path) == part
