"""Opens the movies of Inscopix miniscopes: `.isxd` files, read without the vendor's library."""
