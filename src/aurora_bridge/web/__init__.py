"""The two HTTP ports, `ingress` for webhooks and `admin` for operators: all that knows aiohttp's server."""
