"""Nothing in this folder is a test: it holds a small paper that the tests of the command line train."""

collect_ignore_glob = ["*"]
