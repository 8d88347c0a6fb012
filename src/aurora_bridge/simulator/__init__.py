"""An Aurora in one process: it lives through stories, delivers their webhooks as documented, and serves its API.

`stories` says what happens, `aurora` what is delivered when and what its answer leads to: both are pure, with time as a
parameter. `engine` runs them against a clock and a socket; `api` is what a consumer calls.
"""
