"""Pages for people: to log in and out, and to see and change one's account. They work without JavaScript."""
