"""Serverless functions: a handler and its ``function.yaml`` each."""
