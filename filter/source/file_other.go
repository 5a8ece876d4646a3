//go:build !unix

package source

import "os"

// fileNumber returns nothing: here a file is told by its first bytes alone.
func fileNumber(os.FileInfo) string { return "" }
