"""One file per architecture; the file name is the name in the registry."""
