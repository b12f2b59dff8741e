"""``python -m svc.link_service`` runs the service until it is told to stop."""

from pkg.runtime.server import run_service
from svc.link_service.app import create_app
from svc.link_service.settings import LinkServiceSettings

if __name__ == "__main__":
    run_service(LinkServiceSettings, create_app)
