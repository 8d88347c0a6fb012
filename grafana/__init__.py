"""Grafana dashboards as code: `python -m grafana` writes them into `grafana/dashboards`, `--check` only compares.

One module a dashboard: `overview` (for anybody), `pipeline` (for whoever is on call), `aurora` (for whoever owns the
integration). They ask with `queries`, show with `panels`, and get their frame from `frame`. docs/dashboards.md says how
they are used.
"""
