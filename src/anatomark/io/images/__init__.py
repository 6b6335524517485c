"""Images in and out: ``reading`` and ``writing``, a table of ``kinds``, one file a format."""
