"""Transform files: the table of ``formats``; ITK's files and transforms, matrices in text."""
