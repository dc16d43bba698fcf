"""`gliolake preprocess`: raw sessions become registered, bias-corrected volumes that the lake keeps."""
