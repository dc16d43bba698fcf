"""File formats: NIfTI, DICOM series, CSV and TFRecord, read within limits and checked."""
