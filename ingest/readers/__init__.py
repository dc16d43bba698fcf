"""Readers of file formats: NIfTI, DICOM series, CSV and TFRecord, with limits and checks.

Public: ``nifti.read_volume``, ``nifti.Volume``, ``dicom``, ``csv_file.read_csv``, ``tfrecord``. Opens one file or
series and contains no code about cohorts or tables. Other text of image headers than geometry and series is not
returned.
"""
