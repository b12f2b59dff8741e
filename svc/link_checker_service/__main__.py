"""``python -m svc.link_checker_service`` runs the dispatcher until it is told to stop."""

from pkg.runtime.server import run_service
from svc.link_checker_service.app import create_app
from svc.link_checker_service.settings import LinkCheckerServiceSettings

if __name__ == "__main__":
    run_service(LinkCheckerServiceSettings, create_app)
