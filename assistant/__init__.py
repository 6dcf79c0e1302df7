"""Serving: the engine, the chat page, the HTTP interface, sign-in; and the commands of launch.py."""
