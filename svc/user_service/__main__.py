"""``python -m svc.user_service`` runs the service until it is told to stop."""

from pkg.runtime.server import run_service
from svc.user_service.app import create_app
from svc.user_service.settings import UserServiceSettings

if __name__ == "__main__":
    run_service(UserServiceSettings, create_app)
