"""The social graph service: who follows whom, over REST."""
