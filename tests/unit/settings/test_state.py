from __future__ import annotations

import pytest
from pydantic_core import PydanticCustomError

from poller.model.lease import TableAddress
from poller.settings.state import table_address

ROLE = "arn:aws:iam::123456789012:role/leases"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("dynamodb://leases", TableAddress("leases")),
        ("dynamodb://leases?", TableAddress("leases")),
        ("dynamodb://My.Table_1-x?region=eu-west-1", TableAddress("My.Table_1-x", region="eu-west-1")),
        (
            f"dynamodb://leases?endpoint_url=http://127.0.0.1:8000&role_arn={ROLE}&region=eu-west-1",
            TableAddress("leases", "eu-west-1", "http://127.0.0.1:8000", ROLE),
        ),
        ("dynamodb://leases?endpoint_url=https%3A%2F%2Fh%2Fa%3Fb", TableAddress("leases", None, "https://h/a?b", None)),
    ],
)
def test_an_address_names_the_table_and_how_it_is_reached(text: str, address: TableAddress) -> None:
    assert table_address(text) == address


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("dynamodb://", "the name of a table has 3 to 255"),
        ("dynamodb://ab", "the name of a table has 3 to 255"),
        ("dynamodb://" + "a" * 256, "the name of a table has 3 to 255"),
        ("dynamodb:///leases", "the name of a table has 3 to 255"),
        ("dynamodb://leases/", "the name of a table has 3 to 255"),
        ("dynamodb://arn:aws:dynamodb:eu-west-1:1:table/leases", "the name of a table has 3 to 255"),
        ("dynamodb://leases?eu-west-1", "after the ? come parameters such as region=eu-west-1"),
        ("dynamodb://leases?region", "the known ones are region, endpoint_url, role_arn"),
        ("dynamodb://leases?endpoint=http://h", "endpoint: unknown key; did you mean endpoint_url?"),
        ("dynamodb://leases?region=eu-west-1&region=eu-west-2", "each parameter after the ? may occur only once"),
        ("dynamodb://leases?region=", "region must be a region"),
        ("dynamodb://leases?region=eu west", "region must be a region"),
        ("dynamodb://leases?endpoint_url=localhost:8000", "must be a url"),
        ("dynamodb://leases?endpoint_url=http://me:secret@h", "endpoint_url must have no user and no password"),
        ("dynamodb://leases?role_arn=leases", "is not an ARN"),
        ("dynamodb://leases?role_arn=arn:aws:iam::123456789012:user/me", "must be a role's ARN"),
    ],
)
def test_a_faulty_address_is_refused_and_its_rule_shows_no_secret(text: str, rule: str) -> None:
    with pytest.raises(PydanticCustomError) as error:
        table_address(text)
    assert rule in str(error.value)
    assert "secret" not in str(error.value)
