//go:build unix

package source

import (
	"fmt"
	"os"
	"syscall"
)

// fileNumber returns what the system calls the file, whatever its name.
func fileNumber(info os.FileInfo) string {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%d:%d", stat.Dev, stat.Ino)
}
