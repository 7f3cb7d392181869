"""The compiler's passes: each a pure function from Graph to Graph or to a part of the Plan."""
