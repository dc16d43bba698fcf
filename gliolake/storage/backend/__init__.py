"""Where the bytes of a lake lie: a folder or an object store, behind one protocol."""
