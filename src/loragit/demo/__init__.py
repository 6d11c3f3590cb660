"""What ``loragit demo`` trains with: a small dataset, and a small trainer that is copied, never imported."""
