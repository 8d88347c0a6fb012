"""Aurora's API for subscriptions: `client` calls it, `page` and `subscription` read it, `errors` says what failed."""
