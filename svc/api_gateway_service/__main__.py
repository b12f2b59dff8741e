"""``python -m svc.api_gateway_service`` runs the gateway until it is told to stop."""

from pkg.runtime.server import run_service
from svc.api_gateway_service.app import create_app
from svc.api_gateway_service.settings import ApiGatewaySettings

if __name__ == "__main__":
    run_service(ApiGatewaySettings, create_app)
