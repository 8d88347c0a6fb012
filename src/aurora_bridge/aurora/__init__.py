"""Aurora's API for subscriptions.

`client` calls it, `responses` and `subscription` parse its answers, `errors` lists what can fail.
"""
