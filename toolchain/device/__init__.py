"""Talk to a board: the wire protocol, the link, the session, and emulated boards."""
