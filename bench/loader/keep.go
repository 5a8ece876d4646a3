package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
)

// keep writes a body, compressed, and returns how many documents it holds.
func keep(path, encoding string, body []byte) (documents int, err error) {
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
	return bytes.Count(plain, []byte("\n")) / 2, os.WriteFile(path, body, 0o600)
}
