"""The streams and consumers of JetStream, as an operator would make them: repeatable, with rights that services lack.

One stream has all events; another has those that could not be worked on. Both keep what was read until it is too old,
so that it can be looked at; what is lost with NATS is in the outbox (docs/adr/010).
"""

import asyncio
from collections.abc import Mapping
from typing import Final

from pkg.events.bus import ConsumerSpec
from pkg.events.consumers import CONSUMERS
from pkg.events.messages import (
    BULK,
    DEAD_LETTER_STREAM,
    DEAD_LETTERS,
    DUPLICATE_WINDOW,
    LINK_CHECK_EVENTS,
    LINK_EVENTS,
    SOCIAL_GRAPH_EVENTS,
    STREAM,
)
from pkg.events.nats_bus import NatsBus, open_bus
from pkg.events.settings import NatsAddress
from pkg.object_model.errors import Unavailable

_POLL: Final = 0.2
_DAY: Final = 24 * 3600.0
#: Bytes of one stream, after which its oldest messages go.
MAX_BYTES: Final = 1024**3

type _Config = Mapping[str, object]


async def provision_events(bus: NatsBus, *, replicas: int = 1, max_bytes: int = MAX_BYTES) -> list[str]:
    """Makes what is missing and changes what differs; says what was done, a line each.

    Raises:
        Unavailable: NATS cannot be reached, or refuses.
    """
    subjects = [f"{LINK_EVENTS}.>", f"{SOCIAL_GRAPH_EVENTS}.>", LINK_CHECK_EVENTS, f"{LINK_CHECK_EVENTS}.{BULK}"]
    done = [
        await _provide_stream(bus, _stream(STREAM, subjects, 7 * _DAY, max_bytes, replicas)),
        await _provide_stream(
            bus, _stream(DEAD_LETTER_STREAM, [f"{DEAD_LETTERS}.>"], 30 * _DAY, max_bytes // 4, replicas)
        ),
    ]
    done += [await provide_consumer(bus, spec) for spec in CONSUMERS]
    return [line for line in done if line]


async def provision_at(
    address: NatsAddress, *, replicas: int = 1, max_bytes: int = MAX_BYTES, patience: float = 20.0
) -> list[str]:
    """``provision_events`` for whoever has no bus; gives a server ``patience`` seconds to come up.

    Raises:
        Unavailable: likewise.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + patience
    async with open_bus(address, "provisioning") as bus:
        while True:
            try:
                return await provision_events(bus, replicas=replicas, max_bytes=max_bytes)
            except Unavailable:
                if bus.refused or loop.time() > until:
                    raise
            await asyncio.sleep(_POLL)


def _stream(name: str, subjects: list[str], max_age: float, max_bytes: int, replicas: int) -> _Config:
    return {
        "name": name,
        "subjects": subjects,
        "retention": "limits",
        "storage": "file",
        "discard": "old",
        "max_age": _nanoseconds(max_age),
        "max_bytes": max_bytes,
        "duplicate_window": _nanoseconds(DUPLICATE_WINDOW),
        "num_replicas": replicas,
    }


def _consumer(spec: ConsumerSpec) -> _Config:
    return {
        "durable_name": spec.name,
        "filter_subjects": list(spec.subjects),
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "ack_wait": _nanoseconds(spec.ack_wait),
        # The consumer's own count makes a dead letter; the server's would lose the message without a word.
        "max_deliver": -1,
        "max_ack_pending": spec.max_pending,
    }


async def _provide_stream(bus: NatsBus, wanted: _Config) -> str:
    name = wanted["name"]
    try:
        found: _Config = (await bus.ask(f"STREAM.INFO.{name}"))["config"]
    except Unavailable as error:
        if error.code != "events_not_provisioned":
            raise
        await bus.ask(f"STREAM.CREATE.{name}", wanted)
        return f"stream {name}: made"
    changed = _differences(found, wanted)
    if changed:
        await bus.ask(f"STREAM.UPDATE.{name}", {**found, **wanted})
        return f"stream {name}: changed {changed}"
    return ""


async def provide_consumer(bus: NatsBus, spec: ConsumerSpec) -> str:
    """One of them; says what was done, if anything was. Raises Unavailable likewise."""
    wanted = _consumer(spec)
    make = f"CONSUMER.DURABLE.CREATE.{STREAM}.{spec.name}"
    try:
        found: _Config = (await bus.ask(f"CONSUMER.INFO.{STREAM}.{spec.name}"))["config"]
    except Unavailable as error:
        if error.code != "events_not_provisioned":
            raise
        await bus.ask(make, {"stream_name": STREAM, "config": wanted})
        return f"consumer {spec.name}: made"
    if "filter_subject" in found:
        # How the server gives a single one back.
        found = {**found, "filter_subjects": [found["filter_subject"]]}
    changed = _differences(found, wanted)
    if changed:
        await bus.ask(make, {"stream_name": STREAM, "config": wanted})
        return f"consumer {spec.name}: changed {changed}"
    return ""


def _differences(found: _Config, wanted: _Config) -> str:
    return ", ".join(key for key, value in wanted.items() if found.get(key) != value)


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
