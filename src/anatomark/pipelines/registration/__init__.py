"""Two images brought onto each other by points: found, fitted, refined, warped, reported."""
