"""One-line faults in the package, and which of them the tests notice."""
