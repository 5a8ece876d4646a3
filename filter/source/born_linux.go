package source

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// born returns when the file was made, which tells it from earlier ones that had its number. It is empty when the file
// system does not say.
func born(file *os.File) string {
	var stat unix.Statx_t
	if err := unix.Statx(int(file.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BTIME, &stat); err != nil || stat.Mask&unix.STATX_BTIME == 0 {
		return ""
	}
	return fmt.Sprintf("%x.%x", stat.Btime.Sec, stat.Btime.Nsec)
}
