"""What the link check dispatcher is told from outside."""

from typing import ClassVar

from pydantic import Field

from pkg.events.settings import EventSettings
from pkg.runtime.access import LINK_CHECKER
from pkg.runtime.settings import HostName, ListenPort, PortNumber, ServiceAddress


class LinkCheckerServiceSettings(EventSettings):
    service_name: ClassVar[str] = LINK_CHECKER

    #: Of probes and metrics; nobody calls the dispatcher.
    port: ListenPort = 8082

    function_host: HostName = Field(validation_alias="LINK_CHECK_FUNCTION_SERVICE_HOST")
    function_port: PortNumber = Field(default=8080, validation_alias="LINK_CHECK_FUNCTION_SERVICE_PORT")

    @property
    def function(self) -> ServiceAddress:
        return ServiceAddress(host=self.function_host, port=self.function_port)
