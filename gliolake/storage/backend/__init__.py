"""File access of a lake: a folder or an object store, behind one protocol.

Public: ``files.Files``, ``files.Entry``, ``opening.open_files``. May import layout and errors; it does not import
tables or commits. Paths of the operating system, links and requests to S3 stay in here.
"""
