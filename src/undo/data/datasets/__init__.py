"""One file per dataset. A dataset yields documents per (domain, split) and the items of its default evaluation."""
