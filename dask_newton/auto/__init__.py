"""``solver="auto"``: estimates the cost of every solver from measured rates of the machine, and explains the choice."""
