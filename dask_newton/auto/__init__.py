"""The choice of ``solver="auto"``: estimated costs, measured rates of the machine, and the table that explains them."""
