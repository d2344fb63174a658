"""Claims of the paper (C) and ours (P), judged by recorded studies."""
