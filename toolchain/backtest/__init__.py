"""What a shelf sensor would have been worth: its host twin on the days of the past."""
