"""Stand-ins for services of other companies. They speak the real wire format, over real sockets."""
