"""``python -m svc.news_service`` runs the service until it is told to stop."""

from pkg.runtime.server import run_service
from svc.news_service.app import create_app
from svc.news_service.settings import NewsServiceSettings

if __name__ == "__main__":
    run_service(NewsServiceSettings, create_app)
