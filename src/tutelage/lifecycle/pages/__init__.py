"""Templates of the report and the card, and how a recorded number is written for people."""
