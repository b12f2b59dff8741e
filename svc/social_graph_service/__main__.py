"""``python -m svc.social_graph_service`` runs the service until it is told to stop."""

from pkg.runtime.server import run_service
from svc.social_graph_service.app import create_app
from svc.social_graph_service.settings import SocialGraphServiceSettings

if __name__ == "__main__":
    run_service(SocialGraphServiceSettings, create_app)
