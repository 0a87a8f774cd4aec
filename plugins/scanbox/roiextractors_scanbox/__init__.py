"""Opens the recordings of Scanbox two-photon microscopes: `.sbx` pixels and their `.mat` info."""
