"""From tokens and regions to descriptors."""
