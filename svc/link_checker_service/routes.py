"""The dispatcher's transport: events come in by the bus; over HTTP there are probes and metrics alone."""

from starlette.applications import Starlette

from pkg.events.bus import ConsumerSpec, Publisher, Subscription
from pkg.events.consumer import Consumer
from pkg.link_checker.dispatcher import Dispatcher


def build_consumer(
    dispatcher: Dispatcher, subscription: Subscription, spec: ConsumerSpec, dead_letters: Publisher
) -> Consumer:
    return Consumer(subscription, spec, dispatcher.dispatch, dead_letters)


def build_app() -> Starlette:
    return Starlette()
