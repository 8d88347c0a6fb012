"""Watches Aurora's auto-disable rule: its attempts of 48 h, and a warning before it switches a subscription off."""
