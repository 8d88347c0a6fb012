"""The status page's style sheet, and headers that allow nothing else: no script, nothing from another host.

Colours only repeat what the text says.
"""

from base64 import b64encode
from hashlib import sha256

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --good: #1a7f37; --look: #9a6700; --bad: #cf222e; }
@media (prefers-color-scheme: dark) { :root { --good: #4ac26b; --look: #d4a72c; --bad: #ff7b72; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.1rem; margin: 0; }
h2 { font-size: 1.1rem; margin: 2rem 0 .25rem; }
p { margin: .25rem 0; max-width: 50rem; }
h1, p, summary { overflow-wrap: anywhere; }
header p, small { font-size: .85rem; opacity: .8; }
.line { border-left: .4rem solid; padding: .5rem .75rem; margin: .5rem 0; background: var(--soft); }
.line p { margin: 0; max-width: none; }
.line:first-child strong { font-size: 1.4rem; line-height: 1.3; }
.level { font-weight: 700; text-transform: uppercase; font-size: .8rem; letter-spacing: .05em; }
.good { border-color: var(--good); } .look { border-color: var(--look); } .bad { border-color: var(--bad); }
.good .level { color: var(--good); } .look .level { color: var(--look); } .bad .level { color: var(--bad); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .5rem 0 .25rem; }
th, td { text-align: left; vertical-align: top; padding: .2rem 1rem .2rem 0; border-bottom: 1px solid var(--line); }
tbody th { font-weight: 400; font-family: ui-monospace, monospace; }
.number { text-align: right; white-space: nowrap; }
.prose { min-width: 14rem; }
time { white-space: nowrap; }
code { display: block; min-width: 18rem; font-size: .9em; overflow-wrap: anywhere; user-select: all; }
dl { display: grid; grid-template-columns: max-content auto; gap: .2rem 1rem; margin: .25rem 0; }
dd { margin: 0; overflow-wrap: anywhere; }
dt { opacity: .8; }
summary { cursor: pointer; padding: .5rem 0; }
@media (max-width: 40rem) { body { padding: .5rem; } dl { grid-template-columns: 1fr; } dt { margin-top: .3rem; } }
"""
HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{b64encode(sha256(STYLE.encode()).digest()).decode()}'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
