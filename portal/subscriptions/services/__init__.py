"""What the business does with subscriptions: one function per verb, the only writers. The caller commits."""
