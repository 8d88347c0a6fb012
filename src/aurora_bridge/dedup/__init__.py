"""Same event or new one: the rules, what memory holds, the index file, and the one front that the bridge calls."""
