"""What an operator makes for the services before they run, on one's own machine and in a cluster alike."""
