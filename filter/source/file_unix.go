//go:build unix

package source

import (
	"errors"
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

// lockFile opens the file at path, which is made when missing, for this process alone, until it is closed or the process
// ends in whatever way.
func lockFile(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w", path, ErrFollowed)
		}
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return file, nil
}
