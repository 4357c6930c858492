"""`tricks ablate`: what each trick brings, over several seeds, with intervals and evidence."""
