"""The whole system on one machine: real Postgres, NATS and Valkey out of wheels, and the services as processes."""
