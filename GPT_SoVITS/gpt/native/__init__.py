"""The decoder in C++ (`csrc/`), an optional extension: where it was not built, PyTorch decodes."""
