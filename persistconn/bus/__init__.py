"""Who hears it: rings of posts per topic, one numbering for all, readers that pull by position."""
