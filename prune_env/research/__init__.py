"""Everything that may see a trigger. No defence imports it."""
