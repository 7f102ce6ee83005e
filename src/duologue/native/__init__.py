"""C++ where torch has no fast way: compiled on first use, kept, and never needed."""
