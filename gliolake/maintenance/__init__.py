"""Maintenance of a lake: verify, repair, purge and compact.

Public: ``verify.verify``, ``purge.purge``, ``compaction.compact``, and the reports that they return. May import
storage, schema and log. Verifying changes nothing, a repair deletes nothing; only ``purge`` deletes.
"""
