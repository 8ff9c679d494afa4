"""Forecast retail demand on a microcontroller, and prove that it forecasts what the host does."""

__version__ = "0.1.0"
