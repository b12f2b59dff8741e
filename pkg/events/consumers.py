"""Who consumes what: the one table. Provisioning makes these consumers; services cannot."""

from typing import Final

from pkg.events.bus import ConsumerSpec
from pkg.events.messages import BULK, LINK_CHECK_EVENTS, LINK_EVENTS, SOCIAL_GRAPH_EVENTS
from pkg.runtime.access import LINK_CHECKER, LINK_MANAGER, NEWS_MANAGER

NEWS: Final = ConsumerSpec(name="news", service=NEWS_MANAGER, subjects=(f"{LINK_EVENTS}.*", f"{SOCIAL_GRAPH_EVENTS}.*"))
LINK_CHECKS: Final = ConsumerSpec(name="link-checks", service=LINK_CHECKER, subjects=(f"{LINK_EVENTS}.*",))
BULK_LINK_CHECKS: Final = ConsumerSpec(
    name="bulk-link-checks", service=LINK_CHECKER, subjects=(f"{LINK_EVENTS}.*.{BULK}",)
)
LINK_STATUS: Final = ConsumerSpec(name="link-status", service=LINK_MANAGER, subjects=(LINK_CHECK_EVENTS,))
BULK_LINK_STATUS: Final = ConsumerSpec(
    name="bulk-link-status", service=LINK_MANAGER, subjects=(f"{LINK_CHECK_EVENTS}.{BULK}",)
)

CONSUMERS: Final = (NEWS, LINK_CHECKS, BULK_LINK_CHECKS, LINK_STATUS, BULK_LINK_STATUS)
