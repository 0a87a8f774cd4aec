"""Opens video files: AVI, MP4, MOV, Matroska, MPEG, ASF, by one channel."""
