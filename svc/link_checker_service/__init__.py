"""The link check dispatcher: hears of new links, has the function look at them, tells what came of it."""
