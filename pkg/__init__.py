"""Libraries of Delinkcious: domain, stores, clients and the shared runtime. They start no process."""
