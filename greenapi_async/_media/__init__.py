"""One status' file on disk: downloaded, checked, and put in its place once it is whole."""
