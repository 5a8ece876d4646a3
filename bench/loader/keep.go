package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// keep writes a body, compressed, as the nth of a folder, and returns how many documents it holds.
func keep(folder string, n int64, encoding string, body []byte) (documents int, err error) {
	plain := body
	if encoding == "gzip" {
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return 0, err
		}
		if plain, err = io.ReadAll(z); err != nil {
			return 0, err
		}
	} else {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write(body); err != nil {
			return 0, err
		}
		if err := z.Close(); err != nil {
			return 0, err
		}
		body = b.Bytes()
	}
	if documents = bytes.Count(plain, []byte("\n")) / 2; folder == "-" {
		return documents, nil
	}
	return documents, os.WriteFile(filepath.Join(folder, fmt.Sprintf("%06d.gz", n)), body, 0o600)
}
