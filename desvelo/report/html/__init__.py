"""A run as one HTML page that needs no network: tables, plots, stories."""

from desvelo.report.html.page import page

__all__ = ["page"]
