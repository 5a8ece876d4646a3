//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package local

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

// mapFile maps a file to be read; unmap ends that.
func mapFile(path string) (data []byte, unmap func(), err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	size := info.Size()
	switch {
	case !info.Mode().IsRegular():
		return nil, nil, fmt.Errorf("%s: %w", path, ErrForeign)
	case size == 0:
		return nil, func() {}, nil
	case int64(int(size)) != size:
		return nil, nil, fmt.Errorf("%s: %d bytes are more than this machine can map", path, size)
	}
	data, err = syscall.Mmap(int(f.Fd()), 0, int(size), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return nil, nil, &os.PathError{Op: "mmap", Path: path, Err: err}
	}
	return data, func() { _ = syscall.Munmap(data) }, nil
}

// addressOf returns where data lies in memory.
func addressOf(data []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(data))) }
