"""Lets commands ask a running daemon to change what only the daemon may change.

The daemon listens on a Unix socket in its state directory (`server`). A client sends one line of JSON and gets one back
(`client`). `commands` has the requests.
"""
