"""The two HTTP edges, `ingress` for webhooks and `admin` for operators: the only room that knows aiohttp's server."""
