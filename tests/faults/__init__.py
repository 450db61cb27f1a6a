"""One small fault each, planted into a finished model: the same faults, in each framework's own terms."""
