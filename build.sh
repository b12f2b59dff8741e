#!/usr/bin/env bash
# Builds the images that have changed since the last build of the branch, and pushes them if told to: ./build.sh --help
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# Says nothing when there is nothing to install.
make --silent venv >&2
exec .venv/bin/python cmd/build_changed.py "$@"
