"""Do the changes between any two files lead to the second file, and leave alone what both files have?"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from poller.model.arn import Arn
from poller.model.function import ChildProcess, EventInvokeConfig, Function, FunctionKind, HttpService, LambdaApi
from poller.model.ids import FunctionName, MappingName
from poller.model.mapping import QueueMapping, StreamMapping
from poller.model.stream import Latest
from poller.settings.changes import Difference, changes
from poller.settings.values import Daemon, Settings, TablesAt

KINDS: tuple[FunctionKind, ...] = (
    LambdaApi(name="bill", qualifier=None, region="eu-west-1"),
    HttpService(urls=("http://127.0.0.1:8080",)),
    ChildProcess(command=("node",), handler=None, environment={}, directory="/"),
)

TOPIC = Arn.parse("arn:aws:sns:eu-west-1:000000000000:t")
CONFIGS = [EventInvokeConfig(), EventInvokeConfig(maximum_retry_attempts=1), EventInvokeConfig(on_failure=TOPIC)]

DAEMON = Daemon(
    region=None,
    account_id=None,
    endpoint_url=None,
    endpoints={},
    state="memory:",
    tables_at=TablesAt(None, None, {}),
    event_queue="sqlite:///e.db",
    event_queue_maximum_bytes=1,
    http_listen=None,
    http_hosts=(),
    admin_token=None,
    api_listen=None,
    api_keys={},
    shutdown_grace_in_seconds=30,
    log_format="json",
)

AnyMapping = QueueMapping | StreamMapping

names = st.sampled_from("abc")


@st.composite
def functions_of_a_file(draw: st.DrawFn) -> dict[FunctionName, Function]:
    """The three functions of every file, each with one of two timeouts and one of three configs for its events."""
    return {
        name: Function(
            name=name,
            arn=Arn(
                partition="aws", service="lambda", region="eu-west-1", account="0" * 12, resource=f"function:{name}"
            ),
            kind=kind,
            timeout_in_seconds=draw(st.sampled_from([3, 4])),
            reserved_concurrency=1,
            event_invoke_config=draw(st.sampled_from(CONFIGS)),
        )
        for name, kind in zip(map(FunctionName, "xyz"), KINDS, strict=True)
    }


@st.composite
def a_mapping(draw: st.DrawFn) -> AnyMapping:
    service, resource = draw(
        st.sampled_from([("sqs", "q"), ("kinesis", "stream/s"), ("dynamodb", "table/ttt/stream/2026")])
    )
    name, function_name = MappingName(draw(names)), FunctionName(draw(st.sampled_from("xyz")))
    arn = Arn(partition="aws", service=service, region="eu-west-1", account="0" * 12, resource=resource)
    if service == "sqs":
        return QueueMapping(name=name, event_source_arn=arn, function_name=function_name, region="eu-west-1")
    return StreamMapping(
        name=name,
        event_source_arn=arn,
        function_name=function_name,
        starting_position=Latest(),
        batch_size=draw(st.sampled_from([1, 2])),
        region="eu-west-1",
        uuid="",
    )


@st.composite
def files(draw: st.DrawFn) -> Settings:
    mappings = draw(st.lists(a_mapping(), max_size=3, unique_by=lambda mapping: mapping.name))
    url = st.sampled_from([None, "http://one", "http://two"])
    daemon = replace(
        DAEMON,
        state=draw(st.sampled_from(["memory:", "sqlite:///p.db"])),
        event_queue=draw(st.sampled_from([None, "sqlite:///e.db"])),
        http_listen=draw(st.sampled_from([None, ("127.0.0.1", 0)])),
        http_hosts=draw(st.sampled_from([(), ("poller",)])),
        endpoint_url=draw(url),
        endpoints={
            service: found
            for service in ("sqs", "kinesis", "sts", "lambda", "sns")
            if (found := draw(st.sampled_from([None, "http://one"])))
        },
    )
    return Settings(
        daemon=daemon,
        functions=draw(functions_of_a_file()),
        queue_mappings=tuple(mapping for mapping in mappings if isinstance(mapping, QueueMapping)),
        stream_mappings=tuple(mapping for mapping in mappings if isinstance(mapping, StreamMapping)),
        withheld_variables=frozenset(),
        warnings=(),
    )


def mappings_of(settings: Settings) -> dict[MappingName, AnyMapping]:
    every: tuple[AnyMapping, ...] = (*settings.queue_mappings, *settings.stream_mappings)
    return {mapping.name: mapping for mapping in every}


@given(files(), files())
def test_after_the_changes_the_settings_are_those_of_the_file(in_use: Settings, written: Settings) -> None:
    found, running, wanted = changes(in_use, written), mappings_of(in_use), mappings_of(written)
    for name in found.mappings.removed:
        del running[name]
    for name in found.mappings.added:
        assert name not in running
        running[name] = wanted[name]
    for name in found.mappings.replaced:
        assert name in running
        running[name] = wanted[name]
    assert running == wanted
    in_force = {
        option: getattr(in_use.daemon, option) for option in ("state", "event_queue", "http_listen", "log_format")
    }
    assert found.settings == replace(written, daemon=replace(written.daemon, **in_force))


@given(files(), files())
def test_a_mapping_that_stays_has_the_same_function_and_endpoints(in_use: Settings, written: Settings) -> None:
    found, before, now = changes(in_use, written), mappings_of(in_use), mappings_of(written)
    for name in before.keys() & now.keys():
        functions = in_use.functions[before[name].function_name], written.functions[now[name].function_name]
        endpoints = (
            (in_use.daemon.endpoint_url, in_use.daemon.endpoints),
            (written.daemon.endpoint_url, written.daemon.endpoints),
        )
        without_events = [replace(function, event_invoke_config=EventInvokeConfig()) for function in functions]
        is_equal = before[name] == now[name] and without_events[0] == without_events[1]
        if not is_equal:
            assert name in found.mappings.replaced
        elif endpoints[0] == endpoints[1]:
            assert name not in found.mappings.replaced
    replaced_with_its_function = {
        name for name in before.keys() & now.keys() if now[name].function_name in found.functions.replaced
    }
    assert replaced_with_its_function <= set(found.mappings.replaced)


@given(files(), files())
def test_the_run_of_a_functions_events_is_replaced_with_the_function_or_with_its_config(
    in_use: Settings, written: Settings
) -> None:
    found = changes(in_use, written)
    if in_use.daemon.event_queue is None:
        nothing: Difference[FunctionName] = Difference()
        assert found.events == nothing
        return
    assert (found.events.added, found.events.removed) == ((), ()), "every file has the same functions"
    for name, function in written.functions.items():
        services = {"sts", "sns"} if function.event_invoke_config.on_failure is not None else {"sts"}
        endpoints = [
            [one.daemon.endpoints.get(service, one.daemon.endpoint_url) for service in sorted(services)]
            for one in (in_use, written)
        ]
        is_replaced = (
            name in found.functions.replaced
            or function.event_invoke_config != in_use.functions[name].event_invoke_config
            or endpoints[0] != endpoints[1]
        )
        assert (name in found.events.replaced) == is_replaced


@given(files(), files())
def test_a_second_reading_of_the_same_file_changes_nothing(in_use: Settings, written: Settings) -> None:
    first = changes(in_use, written)
    second = changes(first.settings, written)
    nothing: Difference[MappingName] = Difference()
    no_function: Difference[FunctionName] = Difference()
    assert (second.mappings, second.functions, second.options, second.renamed) == (nothing, no_function, (), ())
    assert second.events == no_function
    assert second.needs_restart == first.needs_restart
    assert second.settings == first.settings
