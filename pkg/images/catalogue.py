"""Every image of the system, and what the one recipe (``Dockerfile``) needs to be told of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Image:
    name: str
    description: str
    #: The stage of the recipe that it is.
    target: str
    #: Of ``requirements/``.
    requirements: str
    #: The folder with its code, beside the libraries; empty for an image without any code of ours.
    code: str = ""
    #: What it runs, if that is one module.
    module: str = ""

    @property
    def repository(self) -> str:
        return f"delinkcious-{self.name}"

    @property
    def build_arguments(self) -> Mapping[str, str]:
        return {
            "REQUIREMENTS": self.requirements,
            "CODE": self.code,
            "MODULE": self.module,
        }


def _service(name: str, folder: str, description: str) -> Image:
    return Image(
        name=name,
        description=description,
        target="service",
        requirements=f"{name}-service",
        code=f"svc/{folder}",
        module=f"svc.{folder}",
    )


IMAGES: Final = (
    _service("api-gateway", "api_gateway_service", "Delinkcious: the public API"),
    _service("link", "link_service", "Delinkcious: links and tags"),
    _service("user", "user_service", "Delinkcious: users, sessions and tokens"),
    _service("social-graph", "social_graph_service", "Delinkcious: who follows whom"),
    _service("news", "news_service", "Delinkcious: feeds of what others save"),
    _service("link-checker", "link_checker_service", "Delinkcious: has links looked at, and tells what was found"),
    Image(
        name="link-check-function",
        description="Delinkcious: looks whether what a link points to is there",
        target="service",
        requirements="link-check-function",
        code="fun/link_checker",
        module="fun.link_checker.host",
    ),
    Image(
        name="operations",
        description="Delinkcious: migrations, provisioning, and the programs of those who run the system",
        target="operations",
        requirements="operations",
        code="cmd",
    ),
    Image(
        name="troubleshooting",
        description="Delinkcious: a shell with clients of all that the system is made of",
        target="troubleshooting",
        requirements="troubleshooting",
    ),
)


def choose_images(names: list[str]) -> list[Image]:
    """Those that are named, in the catalogue's order; all, if none is."""
    return [image for image in IMAGES if not names or image.name in names]


def name_repository(prefix: str, image: Image) -> str:
    """Its name without a tag. ``prefix`` is a registry, and what stands before our names there."""
    prefix = prefix.rstrip("/")
    return f"{prefix}/{image.repository}" if prefix else image.repository
