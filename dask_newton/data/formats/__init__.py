"""Raw formats, one file each; ``registry`` recognises them by content."""
