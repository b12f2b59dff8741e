"""The vocabulary that every service shares: types, interfaces and errors, free of transport and storage."""
