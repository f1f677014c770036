"""The file of one status on disk: downloaded, verified, and renamed into place once complete."""
