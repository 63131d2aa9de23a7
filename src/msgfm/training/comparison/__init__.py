"""Runs side by side: metrics over seeds, the paper's numbers beside them, as a table or a page with plots."""
