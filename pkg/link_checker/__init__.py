"""Whether what a link points to is there: the look at a URL, the guard of where it may go, and who asks for it."""
