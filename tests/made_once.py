"""What do all tests of a process share, because it takes long to make and never changes?

Tests make hundreds of AWS clients. For each one, botocore would do again what gives the same result each time:

    models        it parses a service's model, whose size may be megabytes
    certificates  it reads the certificate authorities of the web, about 150; no test asks a server of the web,
                  so one of them is enough
    events        it renames the events of its services, and inspects the signatures of its handlers
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from botocore.hooks import BaseEventHooks, EventAliaser
from botocore.httpsession import get_cert_path
from botocore.loaders import create_loader

END_OF_A_CERTIFICATE = "-----END CERTIFICATE-----\n"


@pytest.fixture(scope="session", autouse=True)
def _parts_of_botocore_that_are_made_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    certificate = _first_certificate_of_the_web(tmp_path_factory.mktemp("web"))
    aliaser, alias = EventAliaser(None), EventAliaser._alias_event_name
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.session.create_loader", cache(create_loader))
        patch.setattr("botocore.httpsession.where", lambda: str(certificate))
        patch.setattr(EventAliaser, "_alias_event_name", lambda _, name: alias(aliaser, name))
        patch.setattr(BaseEventHooks, "_verify_accept_kwargs", lambda *_: True)
        yield


def _first_certificate_of_the_web(folder: Path) -> Path:
    """Write the file, and return its path."""
    first, end, _ = Path(get_cert_path(True)).read_text().partition(END_OF_A_CERTIFICATE)
    path = folder / "certificate.pem"
    path.write_text(first + end)
    return path
