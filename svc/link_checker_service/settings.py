"""What the link check dispatcher is told from outside."""

from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from pkg.events.settings import EventSettings
from pkg.link_checker.batched_checks import MAX_BATCH
from pkg.link_checker.canary import parse_canaries
from pkg.runtime.access import LINK_CHECKER
from pkg.runtime.settings import HostName, ListenPort, PortNumber, ServiceAddress


def _read_canaries(value: object) -> object:
    return parse_canaries(value) if isinstance(value, str) else value


class LinkCheckerServiceSettings(EventSettings):
    service_name: ClassVar[str] = LINK_CHECKER

    #: Of probes and metrics; nobody calls the dispatcher.
    port: ListenPort = 8082

    function_host: HostName = Field(validation_alias="LINK_CHECK_FUNCTION_SERVICE_HOST")
    function_port: PortNumber = Field(default=8080, validation_alias="LINK_CHECK_FUNCTION_SERVICE_PORT")

    #: Links that the function is asked about in one call, at the most; with 1 each has a call of its own.
    batch: int = Field(default=MAX_BATCH, ge=1, le=MAX_BATCH, validation_alias="LINK_CHECK_BATCH")

    #: URLs, with commas between them, one of which is always up: while none can be reached, no page is called dead.
    canaries: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_read_canaries)] = Field(
        default=(), validation_alias="LINK_CHECKER_CANARIES"
    )

    @property
    def function(self) -> ServiceAddress:
        return ServiceAddress(host=self.function_host, port=self.function_port)
