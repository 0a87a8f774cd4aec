"""Opens the movies, cell sets and event sets of Inscopix miniscopes: `.isxd` files, read without the vendor's library."""
