"""An Aurora in one process: it plays stories, delivers their webhooks as documented, and serves Aurora's API.

`stories` generates what happens; `aurora` decides what is delivered when, and handles the answers. Both are pure, with
time as a parameter. `engine` runs them with a clock and a sender; `api` is what a consumer calls.
"""
