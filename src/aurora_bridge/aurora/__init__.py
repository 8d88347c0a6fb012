"""Aurora's API for subscriptions: `client` calls it, `page` and `subscription` parse it, `errors` has what can fail."""
