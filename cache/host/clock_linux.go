package host

import (
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// boot names this boot of the kernel.
var boot = sync.OnceValue(func() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // empty when it is hidden: then boots are told by the time
	return strings.TrimSpace(string(id))
})

// steady is the time since the kernel was booted, suspension included.
func steady() (string, time.Duration) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return wall()
	}
	return boot(), time.Duration(t.Nano())
}
