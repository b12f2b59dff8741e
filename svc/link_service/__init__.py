"""The link service: links, tags, import and export, over REST."""
