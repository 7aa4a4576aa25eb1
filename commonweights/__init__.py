"""The front door: the `coop` command line, the layout of a cooperative's folder, and the demo."""

__version__ = "0.1.0"
