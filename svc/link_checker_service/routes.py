"""The dispatcher's transport: events come in by the bus; over HTTP there are probes and metrics alone."""

from starlette.applications import Starlette

from pkg.events.bus import ConsumerSpec, Delivery, Publisher, Subscription
from pkg.events.consumer import Consumer
from pkg.link_checker.dispatcher import CONCURRENCY, Dispatcher


def build_consumer(
    dispatcher: Dispatcher, subscription: Subscription, spec: ConsumerSpec, dead_letters: Publisher
) -> Consumer:
    # Each link for itself: no order is to be kept, and one whose site is slow must not keep the next ones waiting.
    return Consumer(subscription, spec, dispatcher.dispatch, dead_letters, key_of=_itself, concurrency=CONCURRENCY)


def _itself(delivery: Delivery) -> str:
    return str(delivery.sequence)


def build_app() -> Starlette:
    return Starlette()
