//go:build !linux

package host

import "time"

// steady is the time of day: there is no other that all processes share.
func steady() (string, time.Duration) { return wall() }
