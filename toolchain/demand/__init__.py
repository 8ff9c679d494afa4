"""From sales files to scaled windows, and the measures of a forecast: numpy only."""
