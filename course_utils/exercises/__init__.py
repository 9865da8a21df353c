"""One module per notebook: reference, mistakes, hints, cases."""
