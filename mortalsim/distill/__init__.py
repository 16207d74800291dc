"""From one chip to another: what a dying chip knows, taught to a chip that is physically different."""
