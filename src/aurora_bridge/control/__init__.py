"""How commands ask a living daemon to change what only it may change.

The daemon listens on a Unix socket in its state directory (`server`). A command sends one line of JSON and gets one
back (`client`). What can be asked is in `commands`.
"""
