"""Aurora's API for subscriptions: `client` calls it, `responses` and `subscription` parse, `errors` lists failures."""
