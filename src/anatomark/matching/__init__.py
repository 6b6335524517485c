"""Two images to pairs of points: matchers, what is wrong among pairs, and how good they are."""
