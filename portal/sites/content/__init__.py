"""What a site may consist of: names, kinds of files, sizes, and how uploads are taken apart."""
