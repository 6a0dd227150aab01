"""What the page of parity is made of; ``python docs/make_parity.py`` writes it."""
